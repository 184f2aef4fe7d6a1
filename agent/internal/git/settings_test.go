package git

import (
	"os/exec"
	"slices"
	"strings"
	"testing"
)

func TestTransports(t *testing.T) {
	for url, want := range map[string]string{
		"":                        "",
		"https://h/o/r":           "https",
		"HTTPS://h/o/r":           "https",
		"http://h/o/r":            "http:https",
		"ssh://git@h/o/r":         "ssh",
		"git@h:o/r":               "ssh",
		"git+ssh://h/o/r":         "ssh",
		"git://h/o/r":             "git",
		"file:///etc":             "",
		"ftp://h/o":               "",
		"ext::sh -c id":           "ssh", // git takes it for ext, which is not allowed
		"http::http://github.com": "",
		"fd::17/x":                "ssh",
		"/etc":                    "ssh",
		"foo://h/x":               "",
	} {
		args, env := command(Job{URL: url, Args: []string{"fetch"}})
		if got, _ := strings.CutPrefix(env[len(env)-1], "GIT_ALLOW_PROTOCOL="); got != want {
			t.Errorf("%q may use %q, want %q", url, got, want)
		}
		if !slices.Contains(args, "protocol.allow=never") || slices.Contains(args, "transfer.fsckObjects=true") != (url != "") {
			t.Errorf("%q: %q", url, args)
		}
	}
}

// TestOtherTransportsAreRefused by git itself.
func TestOtherTransportsAreRefused(t *testing.T) {
	for _, url := range []string{"ext::sh -c echo% x>&2", "fd::0", "file:///etc", "/etc", "foo::bar"} {
		args, env := command(Job{URL: url, Args: []string{"ls-remote", "--", url}})
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(cmd.Environ(), env...)
		if out, err := cmd.CombinedOutput(); err == nil || !strings.Contains(string(out), "not allowed") {
			t.Errorf("%q: %v %s", url, err, out)
		}
	}
}

// TestGitKnowsTheFaults: git fsck refuses names of faults that it does not know.
func TestGitKnowsTheFaults(t *testing.T) {
	dir := t.TempDir()
	if out, err := exec.Command("git", "init", "-q", dir).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for _, fault := range fsckIgnored {
		if out, err := exec.Command("git", "-C", dir, "-c", "fsck."+fault+"=ignore", "fsck").CombinedOutput(); err != nil {
			t.Errorf("%s: %v %s", fault, err, out)
		}
	}
}
