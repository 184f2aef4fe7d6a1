package naming_test

import (
	"testing"

	"github.com/berth-go/berth/naming"
)

// TestLogins holds which paths depend on the ssh login.
func TestLogins(t *testing.T) {
	for _, c := range []struct{ remote, want string }{
		{"ssh://alice@host.xz/~/repo", "alice@host.xz/repo"},
		{"ssh://bob@host.xz/~/repo.git/", "bob@host.xz/repo"},
		{"ssh://git@host.xz/~/repo", "git@host.xz/repo"},
		{"git+ssh://alice@host.xz:2222/~/a/b", "alice@host.xz:2222/a/b"},
		{"ssh://alice@host.xz/%7e/repo", "alice@host.xz/repo"},
		{"alice@host.xz:~/repo", "alice@host.xz/repo"},
		{"git@host.xz:~/repo", "git@host.xz/repo"},
		{"alice@host.xz:repo", "alice@host.xz/repo"},
		{"alice@host.xz:src/repo.git", "alice@host.xz/src/repo"},
		{"[alice@host.xz:2222]:repo", "alice@host.xz:2222/repo"},
		{"alice@[::1]:repo", "alice@[::1]/repo"},
		{"john@doe.org@host.xz:repo", "john@doe.org@host.xz/repo"},
		{"ssh://john%40doe.org@host.xz/~/repo", "john@doe.org@host.xz/repo"},
		{"alice@127.0.0.1:repo", "alice@127.0.0.1/repo"},
		{"alice@host.xz:2024/notes", "alice@host.xz/2024/notes"},

		// The same for every login.
		{"ssh://alice@host.xz/repo", "host.xz/repo"},
		{"alice@host.xz:/repo", "host.xz/repo"},
		{"alice@host.xz:~bob/repo", "host.xz/~bob/repo"},
		{"ssh://alice@host.xz/~bob/repo", "host.xz/~bob/repo"},
		{"alice@host.xz:29418/tools", "host.xz/29418/tools"},
		{"host.xz:repo", "host.xz/repo"},
		{"host.xz:~/repo", "host.xz/~/repo"},
		{"ssh://host.xz/~/repo", "host.xz/~/repo"},

		// Hosting services.
		{"git@host.xz:o/r", "host.xz/o/r"},
		{"user@host.xz:o/r", "host.xz/o/r"},
		{"org-12345678@github.example.com:o/r", "github.example.com/o/r"},
		{"org-x@host.xz:o/r", "org-x@host.xz/o/r"},
		{"alice@github.com:o/r", "github.com/o/r"},
		{"alice@gitlab.com:o/p/r", "gitlab.com/o/p/r"},
		{"org@vs-ssh.visualstudio.com:v3/org/p/r", "dev.azure.com/org/p/r"},

		// No repository.
		{"alice@host.xz:~", ""},
		{"ssh://alice@host.xz/~/", ""},
		{"alice@host.xz:~/../bob/repo", ""},
		{"alice@host.xz:../bob/repo", ""},
	} {
		if c.want == "" {
			wantRefused(t, c.remote)
		} else {
			wantIdentity(t, c.remote, c.want)
		}
	}
}

// TestLoginsKeepContainersApart holds it where it counts: in the container's name
// and label.
func TestLoginsKeepContainersApart(t *testing.T) {
	names, labels := map[string]string{}, map[string]string{}
	for _, remote := range []string{
		"alice@host.xz:repo", "bob@host.xz:repo", "git@host.xz:~/repo", "git@host.xz:repo", "host.xz:~/repo", "host.xz:~alice/repo",
	} {
		repository, err := naming.ParseRepository(remote)
		if err != nil {
			t.Fatal(err)
		}
		key := naming.Key{Repository: repository}
		for seen, text := range map[*map[string]string]string{&names: key.ContainerName("berth"), &labels: key.String()} {
			if other, ok := (*seen)[text]; ok {
				t.Errorf("%s and %s are both %s", remote, other, text)
			}
			(*seen)[text] = remote
		}
		if back, err := naming.ParseKey(key.String()); err != nil || back != key {
			t.Errorf("%s became %#v, %v", key, back, err)
		}
	}
}

func TestUnmarshalTextRefusesLogins(t *testing.T) {
	for _, text := range []string{
		"@host.xz/r", "-o@host.xz/r", "a b@host.xz/r", "alice@github.com/o/r", "alice@host.xz:22/r", "github.com@host.xz/r", "alice@host.xz/", "alice@/r",
	} {
		var repo naming.Repository
		if err := repo.UnmarshalText([]byte(text)); err == nil {
			t.Errorf("UnmarshalText(%q) gave %#v", text, repo)
		}
	}
}
