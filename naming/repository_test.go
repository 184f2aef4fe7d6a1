package naming_test

import (
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/berth-go/berth/naming"
)

// TestParseRepositoryRules has the cases that the tables of other projects do not have.
func TestParseRepositoryRules(t *testing.T) {
	for _, c := range []struct{ remote, want string }{ // want "" is ErrInvalid
		// Transports.
		{"ssh+git://git@host.xz/o/r.git", "host.xz/o/r"},
		{"GIT+HTTPS://host.xz/o/r.git", "host.xz/o/r"},
		{"git+git://host.xz/o/r", "host.xz/o/r"},
		{"git+git@host.xz:o/r.git", "host.xz/o/r"},
		{"git+git+git@host.xz:o/r.git", "host.xz/o/r"},
		{"git+@host.xz:o/r.git", ""},
		{"[git+git@host.xz]:o/r.git", ""},
		{"ftp://host.xz/o/r.git", ""},
		{"git+file:///o/r", ""},
		{"s3://bucket/o/r", ""},
		{"file:/o/r", ""},
		{"git@host.xz:o/r://x", ""},

		// ".git" and slashes: one of each is no part of the identity.
		{"https://host.xz/o/r.git.git", "host.xz/o/r.git"},
		{"https://host.xz/o/r.GIT", "host.xz/o/r.GIT"},
		{"https://github.com/o/r.GIT/", "github.com/o/r"},
		{"https://host.xz/o/r//", ""},
		{"https://host.xz//o/r", ""},
		{"https://host.xz/o/.git", ""},
		{"https://host.xz/o/r/.git", ""},
		{"https://host.xz/o/..git", ""},
		{"https://github.com/o/.github", "github.com/o/.github"},

		// Hosts.
		{"https://github.com./o/r", "github.com/o/r"},
		{"https://my_gitlab/o/r", "my_gitlab/o/r"},
		{"ssh://git@gitlab/o/r", "gitlab/o/r"},
		{"git@gitlab:o/r", "gitlab/o/r"},
		{"gist:feedbeef", ""},
		{"Z:/repo", ""},
		{"https://a..b/o/r", ""},
		{"https://a-.b/o/r", ""},
		{"https://gith%75b.com/o/r", ""},
		{"https://xn--mnchen-3ya.example/o/r", "xn--mnchen-3ya.example/o/r"},

		// IPv6, in the forms that git's own tests use.
		{"ssh://::1/home/user/repo", "[::1]/home/user/repo"},
		{"ssh://[::1]:/home/user/repo", "[::1]/home/user/repo"},
		{"ssh://[user@::1]:/home/user/repo", "[::1]/home/user/repo"},
		{"ssh://[user@::1]:22/home/user/repo", "[::1]/home/user/repo"},
		{"git://user@::1/re:po", "[::1]/re:po"},
		{"[user@::1]:repo", "[::1]/repo"},
		{"https://[0:0:0:0:0:0:0:1]/o/r", "[::1]/o/r"},
		{"https://[::ffff:10.0.0.1]/o/r", "10.0.0.1/o/r"},
		{"https://::1/o/r", ""},
		{"https://[host:123]/o/r", ""},
		{"https://[host]/o/r", ""},
		{"[user@host:123]:src", "host:123/src"},
		{"user@[host:123]:src", "host:123/src"},
		{"[host]:src", "host/src"},
		{"a@[b@::1]:repo", ""},
		{"[foo/bar]:baz", ""},
		{"[::1]repo", ""},
		{"https://[::1]x/o/r", ""},
		{"ssh://[::1/o/r", ""},
		{"ssh://[a;b@::1]/o/r", ""},
		{"ssh://[h:1]:2/o/r", ""},
		{"ssh://a@[b@::1]/o/r", ""},
		{"https://[::g]/o/r", ""},

		// Ports.
		{"ssh://host.xz:/o/r", "host.xz/o/r"},
		{"ssh://git@ssh.github.com:443/O/R.git", "github.com/o/r"},
		{"ssh://git@altssh.gitlab.com:443/a/b/c", "gitlab.com/a/b/c"},
		{"ssh://git@ssh.github.com:2222/O/R", "ssh.github.com:2222/O/R"},
		{"https://github.com:8443/O/R", "github.com:8443/O/R"},
		{"https://host.xz:+80/o/r", ""},
		{"host:re:po", "host/re:po"},
		{"https://" + strings.Repeat("a.", 127) + "xz/o/r", ""},
		{"https://" + strings.Repeat("a", 64) + ".xz/o/r", ""},

		// Userinfo.
		{"https://github.com@evil.example/o/r", ""},
		{"https://www.gitlab.com:x@evil.example/o/r", ""},
		{"git@github.com@evil.example:o/r", ""},
		{"https://host.xz:8080@evil.example/o/r", ""},
		{"https://john.doe:secret@host.xz/o/r", "host.xz/o/r"},
		{"https://us%e2%80%8ber:x@host.xz/o/r", ""},
		{"https://a%0ab:c@host.xz/o/r", ""},
		{"https://a:b%00@host.xz/o/r", ""},
		{"https://user:pa/ss@host.xz/o/r", ""},
		{"https://user:12/ss@host.xz/o/r", ""},
		{"https://user:pa#ss@host.xz/o/r", ""},
		{"@host.xz:o/r", ""},
		{"ssh://-oProxyCommand=x@host.xz/o/r", ""},
		{"ssh://a;b@host.xz/o/r", ""},
		{"ssh://a%20b@host.xz/o/r", ""},

		// Paths.
		{"https://host.xz/o/%2e%2e%2fr", ""},
		{"https://host.xz/o/%252e%252e/r", ""},
		{"https://host.xz/o/%252fr", ""},
		{"https://host.xz/o/%zz", ""},
		{"https://host.xz/o/%ff", ""},
		{"https://host.xz/o/r%20", ""},
		{"https://host.xz/o/%24%28id%29", ""},
		{"https://host.xz/o/my repo", ""},
		{"https://host.xz/o/r%E3%85%A4", ""}, // U+3164 HANGUL FILLER, a letter that is not seen
		{"https://host.xz/o/\u212a", "host.xz/o/\u212a"},
		{"https://github.com/o/\u212a", "github.com/o/\u212a"}, // KELVIN SIGN is no k
		{"git+https://host.xz/o/r@v1.0", ""},
		{"https://host.xz/o%40x/r", ""},
		{"https://host.xz/" + strings.Repeat("a", 256), ""},
		{"https://host.xz/o/r\xff", ""},
		{"host.xz:~/repo", "host.xz/~/repo"},
		{"git@host.xz:-oo/r", ""},
		{"git@host.xz:", ""},
		{"git@host.xz:/", ""},
		{"git@host.xz::r", ""},
		{"host::r", ""},

		// Bitbucket Server, Gerrit, CodeCommit, gist.
		{"https://host.xz/scm/repo.git", "host.xz/scm/repo"},
		{"https://host.xz/scm/a/b/c.git", "host.xz/scm/a/b/c"},
		{"ssh://host.xz/scm/a/b.git", "host.xz/scm/a/b"},
		{"https://gitlab.com/scm/a/b", "gitlab.com/scm/a/b"},
		{"ssh://jane@gerrit.host.xz:29418/tools/repo", "gerrit.host.xz:29418/tools/repo"},
		{"https://git-codecommit.eu-west-1.amazonaws.com/v1/repos/r", "git-codecommit.eu-west-1.amazonaws.com/v1/repos/r"},
		{"https://gist.github.com/o/feedbeef/raw", ""},

		// Query and fragment.
		{"https://host.xz/o/r?ref=main&private_token=x", ""},
		{"https://host.xz/o/r?acc%65ss-token=x", ""},
		{"https://host.xz/o/r?Password=x", ""},
		{"https://host.xz/o/r?page=%4A%4a%zz", "host.xz/o/r"},
		{"https://host.xz/o/r#access_token=x", "host.xz/o/r"},
		{"https://host.xz/o/r#br@nch", ""},
		{"https://github.com/o/r#br@nch", "github.com/o/r"},
		{"user:pass#word@host.xz:o/r", ""},
		{"#x", ""},

		// Blanks.
		{"https://host.xz/o/r\n", "host.xz/o/r"},
		{"\t-oProxyCommand=x:o/r\t", ""},
		{" \t\n", ""},
	} {
		if c.want == "" {
			wantRefused(t, c.remote)
		} else {
			wantIdentity(t, c.remote, c.want)
		}
	}
}

func wantRefused(t *testing.T, remote string) {
	t.Helper()
	if got, err := naming.ParseRepository(remote); !errors.Is(err, naming.ErrInvalid) || !got.IsZero() {
		t.Errorf("ParseRepository(%q) = %v, %v, want ErrInvalid", remote, got, err)
	}
}

func wantIdentity(t *testing.T, remote, want string) {
	t.Helper()
	if got, err := naming.ParseRepository(remote); err != nil || got.String() != want {
		t.Errorf("ParseRepository(%q) = %v, %v, want %s", remote, got, err, want)
	}
}

func TestIdentityLength(t *testing.T) {
	longest := "host.xz" + strings.Repeat("/"+strings.Repeat("a", 199), 5) + "/bcdefghijklmnopq"
	if len(longest) != naming.MaxIdentityLen {
		t.Fatalf("the identity has %d bytes", len(longest))
	}
	elem := strings.Repeat("\u00fc", 100)
	for _, c := range []struct{ remote, want string }{ // want "" is ErrInvalid
		{"https://user:password@" + longest + ".git/?ref=main", longest},
		{"https://" + longest + "r", ""},
		{"ssh://git@" + strings.Replace(longest, "/", ":8022/", 1), ""},
		{"git@" + strings.Replace(longest, "/", ":", 1), longest},
		{"git@" + strings.Replace(longest, "/", ":x", 1), ""},
		{"https://host.xz" + strings.Repeat("/"+elem, 3), "host.xz" + strings.Repeat("/"+elem, 3)},
		{"https://host.xz" + strings.Repeat("/"+elem, 4), ""}, // its URL would have 2,419 bytes
	} {
		if c.want == "" {
			wantRefused(t, c.remote)
		} else {
			wantIdentity(t, c.remote, c.want)
		}
	}
	var repo naming.Repository
	if err := repo.UnmarshalText([]byte(longest)); err != nil || repo.String() != longest {
		t.Errorf("the longest identity gave %v, %v", repo, err)
	}
	if err := repo.UnmarshalText([]byte(longest + "r")); !errors.Is(err, naming.ErrInvalid) {
		t.Errorf("a longer identity gave %v, want ErrInvalid", err)
	}
}

func TestRepositoryJSON(t *testing.T) {
	type record struct {
		Repository naming.Repository
		Tasks      map[naming.Repository]int
	}
	repo := naming.Repository{Host: "git.example.com:7999", Path: "Team A/tool.git"}
	in := record{repo, map[naming.Repository]int{repo: 3}}
	text, err := json.Marshal(in)
	if err != nil {
		t.Fatal(err)
	}
	if want := `{"Repository":"git.example.com:7999/Team A/tool.git","Tasks":{"git.example.com:7999/Team A/tool.git":3}}`; string(text) != want {
		t.Errorf("got %s, want %s", text, want)
	}
	var out record
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	if out.Repository != repo || out.Tasks[repo] != 3 {
		t.Errorf("got %v back, want %v", out, in)
	}
}

func TestRepositoryUnmarshalTextRefuses(t *testing.T) {
	for _, text := range []string{
		"host.xz", "host.xz/", "/o/r", "Host.xz/o/r", "host.xz./o/r", "host.xz:022/o/r", "host.xz:0/o/r",
		"https://host.xz/o/r", "git@host.xz:o/r", "host.xz/o/../r", "host.xz/o/r/", "[host]/r", "[::1]8080/r", "[0::1]/r",
		"github.com/O/r", "github.com/o", "www.github.com/o/r", "ssh.github.com/o/r", "ssh.github.com:443/o/r",
		"dev.azure.com/o/p", "org.visualstudio.com/p/r", "169.254.169.254/o/r",
	} {
		repo := naming.Repository{Host: "h", Path: "kept"}
		if err := repo.UnmarshalText([]byte(text)); !errors.Is(err, naming.ErrInvalid) {
			t.Errorf("UnmarshalText(%q) gave %v, want ErrInvalid", text, err)
		}
		if repo.Path != "kept" {
			t.Errorf("UnmarshalText(%q) failed, and changed its receiver to %v", text, repo)
		}
	}
	repo := naming.Repository{Host: "h", Path: "r"}
	if err := repo.UnmarshalText(nil); err != nil || !repo.IsZero() {
		t.Errorf("empty text gave %v, %v, want the zero Repository", repo, err)
	}
}
