package naming_test

import (
	"errors"
	"regexp"
	"strings"
	"testing"

	"github.com/berth-go/berth/naming"
	"pgregory.net/rapid"
)

// dockerName matches the names that dockerd accepts, without upper case.
var dockerName = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]+$`)

func checkContainerName(t interface{ Errorf(string, ...any) }, name string) {
	if !dockerName.MatchString(name) || len(name) > 63 || !strings.HasPrefix(name, "repo-") {
		t.Errorf("container name %q", name)
	}
}

func TestContainerName(t *testing.T) {
	long := strings.Repeat("nested/", 20)
	for _, c := range []struct {
		path string
		want string // without the hash
	}{
		{"anthropic/claude-code", "repo-anthropic-claude-code"},
		{"My Project/R.e_po", "repo-my-project-r.e_po"},
		{"~alice/r", "repo-alice-r"},
		{"caf\u00e9/\u65e5\u672c", "repo-caf"},
		{"\u65e5\u672c", "repo"},
		{long + "tool", "repo-" + strings.Repeat("nested-", 5) + "tool"},
	} {
		key := naming.Key{Repository: naming.Repository{Host: "h.example", Path: c.path}}
		name := key.ContainerName("pool")
		checkContainerName(t, name)
		i := strings.LastIndexByte(name, '-')
		if len(name)-i-1 < 10 {
			t.Errorf("%s: the hash has fewer than 50 bits", name)
		}
		if got := name[:i]; !strings.HasSuffix(got, strings.TrimPrefix(c.want, "repo-")) {
			t.Errorf("%s: got %s, want %s", c.path, got, c.want)
		}
	}
}

// TestContainerNameIsStable holds that a new version finds the containers of
// the old one.
func TestContainerNameIsStable(t *testing.T) {
	repo := naming.Repository{Host: "github.com", Path: "anthropic/claude-code"}
	for want, key := range map[string]naming.Key{
		"repo-anthropic-claude-code-9dngmpzqsqme": {Repository: repo},
		"repo-anthropic-claude-code-n3zkd4bvqwae": {Repository: repo, Scope: "main"},
	} {
		if got := key.ContainerName("berth"); got != want {
			t.Errorf("%v: got %s, want %s", key, got, want)
		}
	}
}

// TestContainerNamesDiffer uses pairs that a careless join of the fields would mix up.
func TestContainerNamesDiffer(t *testing.T) {
	type args struct{ pool, host, path, scope string }
	seen := map[string]args{}
	for _, a := range []args{
		{"p", "h", "a-b/c", ""}, {"p", "h", "a/b-c", ""}, {"p2", "h", "a/b-c", ""}, {"p", "h2", "a/b-c", ""},
		{"p", "h", "a/b-c", "s"}, {"ph", "", "a/b-c", ""}, {"p", "ha", "/b-c", ""}, {"p", "h", "a/b", "-c"},
		{"", "p", "h", "a/b-c"}, {"p", "h/a", "b-c", ""}, {"p", "h", "a/b.c", ""}, {"p", "h", "a/b_c", ""},
	} {
		key := naming.Key{Repository: naming.Repository{Host: a.host, Path: a.path}, Scope: a.scope}
		name := key.ContainerName(a.pool)
		if other, ok := seen[name]; ok {
			t.Errorf("%+v and %+v have the name %s", a, other, name)
		}
		seen[name] = a
	}
}

func TestKeyText(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		key := naming.Key{
			Repository: naming.Repository{Host: "h.example", Path: rapid.SampledFrom([]string{"r", "a b/c", "a:b/%41"}).Draw(t, "path")},
			Scope:      string(rapid.SliceOf(rapid.Byte()).Draw(t, "scope")),
		}
		text := key.String()
		for _, r := range text {
			if r < ' ' || r > '~' {
				t.Fatalf("%q is no label text", text)
			}
		}
		back, err := naming.ParseKey(text)
		if err != nil || back != key {
			t.Fatalf("%q gave %v, %v, want %v", text, back, err, key)
		}
	})
}

func TestParseKeyRefuses(t *testing.T) {
	for _, text := range []string{
		"", "#main", "h.example", "h.example/r#", "h.example/r#a b", "h.example/r#%6d", "h.example/r#%zz", "h.example/r#a#b",
		"H.example/r", "h.example/../r", "https://h.example/r",
	} {
		if key, err := naming.ParseKey(text); !errors.Is(err, naming.ErrInvalid) || key != (naming.Key{}) {
			t.Errorf("ParseKey(%q) = %v, %v, want ErrInvalid", text, key, err)
		}
	}
}
