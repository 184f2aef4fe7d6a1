package naming_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"strings"
	"testing"

	"github.com/berth-go/berth/naming"
	"github.com/google/go-cmp/cmp"
)

func TestParseRemote(t *testing.T) {
	repo := func(host, path string) naming.Repository { return naming.Repository{Host: host, Path: path} }
	for _, c := range []struct {
		remote string
		want   naming.Remote
	}{
		{"https://GitHub.com/Org/Repo.git", naming.Remote{Repository: repo("github.com", "org/repo"), URL: "https://github.com/Org/Repo.git"}},
		{"https://t0ken@github.com/o/r", naming.Remote{Repository: repo("github.com", "o/r"), URL: "https://github.com/o/r", Username: "t0ken"}},
		{"https://u%24er:p%40ss@foo.bar/some/repo?x#y", naming.Remote{Repository: repo("foo.bar", "some/repo"), URL: "https://foo.bar/some/repo", Username: "u$er", Password: "p@ss"}},
		{"https://user:p@ss:w@foo.bar/o/r", naming.Remote{Repository: repo("foo.bar", "o/r"), URL: "https://foo.bar/o/r", Username: "user", Password: "p@ss:w"}},
		{"https://:100%@foo.bar/o/r", naming.Remote{Repository: repo("foo.bar", "o/r"), URL: "https://foo.bar/o/r", Password: "100%"}},
		{"https://abc%2Fdef@foo.bar/o/r", naming.Remote{Repository: repo("foo.bar", "o/r"), URL: "https://foo.bar/o/r", Username: "abc/def"}},
		{"git+http://u:p@foo.bar:0080/o/r/", naming.Remote{Repository: repo("foo.bar", "o/r"), URL: "http://foo.bar:80/o/r", Username: "u", Password: "p"}},
		{"https://host.xz/scm/proj/repo.git", naming.Remote{Repository: repo("host.xz", "proj/repo"), URL: "https://host.xz/scm/proj/repo.git"}},
		{"https://dev.azure.com/org/My%20Project/_git/repo", naming.Remote{Repository: repo("dev.azure.com", "org/My Project/repo"), URL: "https://dev.azure.com/org/My%20Project/_git/repo"}},
		{"https://foo.bar/%61/caf\u00e9", naming.Remote{Repository: repo("foo.bar", "a/caf\u00e9"), URL: "https://foo.bar/%61/caf%C3%A9"}},
		{"git://user:password@foo.bar/o/r#b", naming.Remote{Repository: repo("foo.bar", "o/r"), URL: "git://foo.bar/o/r"}},
		{"git+ssh://git:password@foo.bar:22/o/r", naming.Remote{Repository: repo("foo.bar", "o/r"), URL: "ssh://git@foo.bar:22/o/r"}},
		{"ssh://:password@foo.bar/o/r", naming.Remote{Repository: repo("foo.bar", "o/r"), URL: "ssh://foo.bar/o/r"}},
		{"ssh://john@doe.org@foo.bar/o/r", naming.Remote{Repository: repo("foo.bar", "o/r"), URL: "ssh://john%40doe.org@foo.bar/o/r"}},
		{"ssh://[user@::1]:/re/po", naming.Remote{Repository: repo("[::1]", "re/po"), URL: "ssh://user@[::1]/re/po"}},
		{"git@GitHub.com:/Org/Repo.git/?x", naming.Remote{Repository: repo("github.com", "org/repo"), URL: "git@github.com:/Org/Repo.git"}},
		{"git+git@foo.bar:o/r", naming.Remote{Repository: repo("foo.bar", "o/r"), URL: "git@foo.bar:o/r"}},
		{"host.xz:path%20to/r", naming.Remote{Repository: repo("host.xz", "path%20to/r"), URL: "host.xz:path%20to/r"}},
		{"[user@host.xz:123]:src", naming.Remote{Repository: repo("host.xz:123", "src"), URL: "user@[host.xz:123]:src"}},
		{"[user@::1]:src", naming.Remote{Repository: repo("[::1]", "src"), URL: "user@[::1]:src"}},
		{"ssh://git@ssh.github.com:443/o/r.git", naming.Remote{Repository: repo("github.com", "o/r"), URL: "ssh://git@ssh.github.com:443/o/r.git"}},
	} {
		got, err := naming.ParseRemote(c.remote)
		if err != nil {
			t.Errorf("ParseRemote(%q): %v", c.remote, err)
			continue
		}
		// Remote prints as its URL alone; compare the fields.
		type fields naming.Remote
		if diff := cmp.Diff(fields(c.want), fields(got)); diff != "" {
			t.Errorf("ParseRemote(%q) (-want +got):\n%s", c.remote, diff)
		}
	}
}

func TestRemoteHidesCredential(t *testing.T) {
	remote, err := naming.ParseRemote("https://us3r:s3cret@host.xz/o/r")
	if err != nil {
		t.Fatal(err)
	}
	if !remote.HasCredential() || remote.Username != "us3r" || remote.Password != "s3cret" {
		t.Fatal("the credential was not kept")
	}
	out := printAll(t, remote)
	for _, secret := range []string{"us3r", "s3cret"} {
		if strings.Contains(out, secret) {
			t.Errorf("%s shows in:\n%s", secret, out)
		}
	}
	if !strings.Contains(out, "https://host.xz/o/r") {
		t.Errorf("the URL is missing in:\n%s", out)
	}
}

func TestParseRemoteErrorsAreOneLine(t *testing.T) {
	for _, c := range readJSONLines[remoteCase](t, "giturls.jsonl") {
		if _, err := naming.ParseRemote(c.URL); err != nil {
			text := err.Error()
			if strings.Contains(text, "\n") || !strings.HasPrefix(text, "naming: invalid remote: ") {
				t.Errorf("%q: %q", c.URL, text)
			}
		}
	}
}

// TestOpenPasswords holds that an error says how to write a password that ends
// the host too early, and shows no part of it.
func TestOpenPasswords(t *testing.T) {
	for _, form := range []string{
		"https://ann:%s@git.example/o/r", "https://%s@git.example/o/r", "https://ann:%s@github.com/o/r.git", "ssh://ann:%s@git.example:22/o/r",
		"git+https://ann:%s@git.example:8443/o/r?ref=main", "ann:%s@git.example:o/r",
	} {
		for _, secret := range []string{"zq9/3cr", "zq9#3cr", "zq9?3cr", "9/3cr", "8080#3cr", "443?3cr", "zq9/3c#r?8", "/zq93cr", "zq93cr/", "zq9@x/3cr"} {
			remote := fmt.Sprintf(form, secret)
			_, err := naming.ParseRemote(remote)
			if !errors.Is(err, naming.ErrInvalid) {
				t.Errorf("%q: %v", remote, err)
				continue
			}
			for _, code := range []string{"%2F", "%23", "%3F"} {
				if !strings.Contains(err.Error(), code) {
					t.Errorf("%q: %v, which does not say %s", remote, err, code)
				}
			}
			for _, part := range []string{"zq9", "3cr"} {
				if strings.Contains(err.Error(), part) {
					t.Errorf("%q: %v, which shows a part of the password", remote, err)
				}
			}
		}
	}
	for _, remote := range []string{"ftp://host.xz/o/r", "https://host.xz", "owner/name", "https://ann:pw@/o/r"} {
		if _, err := naming.ParseRemote(remote); err == nil || strings.Contains(err.Error(), "%2F") {
			t.Errorf("%q: %v", remote, err)
		}
	}
}

// printAll returns remote as the usual ways of printing show it.
func printAll(t testing.TB, remote naming.Remote) string {
	var out bytes.Buffer
	for _, verb := range []string{"%v", "%+v", "%#v", "%s", "%q", "%d", "%x", "%t", "%10v"} {
		for _, value := range []any{remote, &remote, []naming.Remote{remote}, struct{ R naming.Remote }{remote}} {
			fmt.Fprintf(&out, verb+"\n", value)
		}
	}
	for _, handler := range []slog.Handler{slog.NewTextHandler(&out, nil), slog.NewJSONHandler(&out, nil)} {
		slog.New(handler).Info("fetching", "remote", remote, "pointer", &remote, "nested", struct{ R naming.Remote }{remote})
	}
	text, err := json.Marshal(struct{ R naming.Remote }{remote})
	if err != nil {
		t.Fatal(err)
	}
	out.Write(text)
	return out.String()
}
