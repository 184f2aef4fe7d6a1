package naming_test

import (
	"fmt"
	"net/url"
	"strings"
	"testing"

	"github.com/berth-go/berth/naming"
	"pgregory.net/rapid"
)

func addRemotes(f *testing.F) {
	for _, c := range readJSONLines[remoteCase](f, "giturls.jsonl") {
		f.Add(c.URL)
	}
	f.Add("ssh://git@ssh.dev.azure.com/v3/org/my%20project/repo")
	f.Add("[user@host:123]:src")
}

// FuzzParseRemote holds that an identity is a fixed point: whatever is made of
// it, as text or as a remote, names the same repository again.
func FuzzParseRemote(f *testing.F) {
	addRemotes(f)
	f.Fuzz(func(t *testing.T, remote string) { checkFixedPoint(t, remote) })
}

// TestParseRemoteParts holds the same for remotes put together of parts, which
// reach deeper than bytes at random.
func TestParseRemoteParts(t *testing.T) {
	part := func(t *rapid.T, name string, parts ...string) string { return rapid.SampledFrom(parts).Draw(t, name) }
	rapid.Check(t, func(t *rapid.T) {
		remote := part(t, "scheme", "https://", "HTTP://", "ssh://", "git+ssh://", "git://", "", "file://") +
			part(t, "user", "", "", "u@", "u:p@", "a%40b@", "a@b@", "@", "-u@", "git+u@", "github.com:443@", "j.doe:1234@", "%20@", ":@", "%3A443:@", "www.github.com%2F@") +
			part(t, "host", "github.com", "WWW.GitHub.com", "gitlab.com", "ssh.github.com", "h.example.", "[::1]", "[u@::1]", "[git+u@h]", "::1", "[h:7]", "127.0.0.1",
				"0x7f.1", "dev.azure.com", "ssh.dev.azure.com", "Org.visualstudio.com", "vs-ssh.visualstudio.com", "h_1", "fil\u00e9") +
			part(t, "port", "", "", ":", ":22", ":443", ":0080", ":9418", ":7999", ":x") +
			part(t, "separator", "/", ":", ":/", "//", "")
		for range rapid.IntRange(0, 5).Draw(t, "elements") {
			remote += part(t, "element", "o", "r.git", "R.GIT", "~u", "~", "scm", "v3", "_git", "_ssh", "_full", "R&D", "DefaultCollection", "a%20b", "%41", "%2541", "%2e%2e", "a:b",
				"caf\u00e9", "tree", "projects", "repos", ".git", "..git", "-x", "x.git.git") + part(t, "slash", "/", "/", "")
		}
		checkFixedPoint(t, remote+part(t, "tail", "", "", "/", "?q", "#f", "?token=x", "#a@b", "\n", " "))
	})
}

func checkFixedPoint(t interface{ Errorf(string, ...any) }, remote string) {
	r, err := naming.ParseRemote(remote)
	if err != nil {
		return
	}
	repo := r.Repository
	again, err := naming.ParseRemote(r.URL)
	if err != nil || again.Repository != repo || again.URL != r.URL || again.HasCredential() {
		t.Errorf("%q has the URL %q, which gives %#v, %v", remote, r.URL, again, err)
	}
	derived := cloneURL(repo)
	if got, err := naming.ParseRepository(derived); len(derived) <= naming.MaxRemoteLen && (err != nil || got != repo) {
		t.Errorf("%q is %v; %q is %v, %v", remote, repo, derived, got, err)
	}
	var back naming.Repository
	if err := back.UnmarshalText([]byte(repo.String())); err != nil || back != repo {
		t.Errorf("%v became %v, %v", repo, back, err)
	}
	key := naming.Key{Repository: repo, Scope: remote}
	if got, err := naming.ParseKey(key.String()); err != nil || got != key {
		t.Errorf("%v became %v, %v", key, got, err)
	}
	checkContainerName(t, key.ContainerName("berth"))
}

// cloneURL makes a remote of an identity.
func cloneURL(repo naming.Repository) string {
	elems := strings.Split(repo.Path, "/")
	for i := range elems {
		elems[i] = url.PathEscape(elems[i])
	}
	if repo.Host == "dev.azure.com" {
		return "git@ssh.dev.azure.com:v3/" + strings.Join(elems, "/") + ".git"
	}
	if repo.Login != "" {
		return "ssh://" + strings.ReplaceAll(repo.Login, "@", "%40") + "@" + repo.Host + "/~/" + strings.Join(elems, "/") + ".git"
	}
	scheme := "ssh"
	if strings.HasSuffix(repo.Host, ":22") {
		scheme = "git" // port 22 is no part of an ssh identity
	}
	return scheme + "://" + repo.Host + "/" + strings.Join(elems, "/") + ".git"
}

// FuzzCredential plants a secret where people put them, and looks for it in
// everything that comes out.
func FuzzCredential(f *testing.F) {
	for _, tail := range []string{"", "@", ":", "/x", "#", "?", "%", "\n", "\\", "]", "[", " ", ":80/x", ".example/o/r?", "@host.xz/o/r"} {
		f.Add(tail)
	}
	forms := []string{
		"https://%s@host.xz/o/r", "https://user:%s@host.xz/o/r", "https://%s:x-oauth-basic@host.xz/o/r", "git+https://:%s@gitlab.com/o/r",
		"ssh://git:%s@host.xz/o/r", "git://user:%s@host.xz/o/r", "user:%s@host.xz:o/r", ":%s@host.xz:o/r", "github::%s@o/r",
		"https://host.xz/o/r?token=%s", "https://host.xz/o/r?access_token=%s", "https://host.xz/o/r#%s", "git@host.xz:o/r?x=%s",
		"https://user:%s@host.xz:port/o/r", "https://user:%s@/o/r", "ftp://user:%s@host.xz/o/r", "https://user:%s@169.254.169.254/o/r",
		"https://user:%s@github.com/o/r/tree/main", "[user:%s@host.xz]:o/r", "https://user:%s@[::1/o/r", " https://user:%s@host.xz/o/r",
	}
	f.Fuzz(func(t *testing.T, tail string) {
		const core = "zq9s3cr3t" // no output may hold even the start of the secret, in any case
		secret := core + tail
		for _, form := range forms {
			for _, spelled := range []string{secret, url.QueryEscape(secret), url.PathEscape(secret)} {
				remote := fmt.Sprintf(form, spelled)
				r, err := naming.ParseRemote(remote)
				out := fmt.Sprintf("%v %+v", err, err)
				if err == nil {
					key := naming.Key{Repository: r.Repository, Scope: "scope"}
					out = strings.Join([]string{printAll(t, r), r.URL, r.Repository.String(), key.String(), key.ContainerName("berth")}, "\n")
				}
				if strings.Contains(strings.ToLower(out), core) {
					t.Errorf("%q shows its secret in\n%s", remote, out)
				}
			}
		}
	})
}

// FuzzContainerName holds that Docker takes the name of any key, also of one
// that no remote would give.
func FuzzContainerName(f *testing.F) {
	f.Add("berth", "github.com", "o/r", "")
	f.Add("", "", "", "")
	f.Add("p", "h", strings.Repeat("-._", 40), "s")
	f.Add("p", "h", strings.Repeat("x", 44)+"\xff-", "s")
	f.Fuzz(func(t *testing.T, pool, host, path, scope string) {
		key := naming.Key{Repository: naming.Repository{Host: host, Path: path}, Scope: scope}
		checkContainerName(t, key.ContainerName(pool))
	})
}

// FuzzText holds that text which is accepted as an identity or a key is the one
// spelling of it.
func FuzzText(f *testing.F) {
	for _, text := range []string{"github.com/o/r", "github.com/o/r#main", "ann@h/r", "a@b@h:7/~/r", "git@h/r", "ann@h:22/r", "ann@github.com/o/r", "[::1]:8080/a b/c", "h:022/r", "h/r#%41", "1.2.3.4/x.git"} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		var repo naming.Repository
		if err := repo.UnmarshalText([]byte(text)); err == nil && repo.String() != text {
			t.Errorf("%q was read as the repository %q", text, repo)
		} else if err == nil && !repo.IsZero() && len(cloneURL(repo)) <= naming.MaxRemoteLen {
			if got, err := naming.ParseRepository(cloneURL(repo)); err != nil || got != repo {
				t.Errorf("%q was accepted, but %q is %v, %v", text, cloneURL(repo), got, err)
			}
		}
		if key, err := naming.ParseKey(text); err == nil && key.String() != text {
			t.Errorf("%q was read as the key %q", text, key)
		}
	})
}
