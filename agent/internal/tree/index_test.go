package tree

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/test/need"
)

// TestOwnIsWhatGitReads: git reads the index, finds its checksum right, and each file with the owner.
func TestOwnIsWhatGitReads(t *testing.T) {
	for name, c := range map[string]struct {
		format string
		init   []string
		more   string // files added with "add -N", which makes an index of version 3
	}{
		"sha1":        {"sha1", nil, ""},
		"sha256":      {"sha256", []string{"--object-format=sha256"}, ""},
		"version 3":   {"sha1", nil, "intent"},
		"no hash":     {"sha1", []string{"-c", "index.skipHash=true"}, ""},
		"sha256 of 3": {"sha256", []string{"--object-format=sha256"}, "intent"},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRepository(t, c.init...)
			for _, file := range []string{"a", "dir/of/b", "dir/" + strings.Repeat("long", 60), "x/y/1234567", "x/y/12345678"} {
				r.write(file)
			}
			r.git("add", ".")
			if c.more != "" {
				r.write(c.more)
				r.git("add", "-N", c.more)
			}
			file := filepath.Join(r.dir, ".git", "index")
			index, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			before := r.git("ls-files", "--stage", "--debug")
			if err := Own(index, c.format, 12345); err != nil {
				t.Fatal(err)
			}
			if err := os.WriteFile(file, index, 0o644); err != nil {
				t.Fatal(err)
			}
			after := r.git("ls-files", "--stage", "--debug")
			files := strings.Count(before, "mtime:")
			if n := strings.Count(after, "uid: 12345\tgid: 12345\n"); n != files || n < 5 {
				t.Errorf("%d of %d files have the owner:\n%s", n, files, after)
			}
			drop := func(text string) (kept []string) {
				for line := range strings.Lines(text) {
					if !strings.Contains(line, "uid:") {
						kept = append(kept, line)
					}
				}
				return kept
			}
			if a, b := strings.Join(drop(before), ""), strings.Join(drop(after), ""); a != b {
				t.Errorf("something else has changed:\n%s\n%s", a, b)
			}
			r.git("fsck", "--cache") // also looks at the checksum
			r.git("write-tree", "--missing-ok")
		})
	}
}

func TestOwnRefusesWhatIsNoIndex(t *testing.T) {
	r := newRepository(t)
	r.write("a")
	r.write("b")
	r.git("add", ".")
	whole, err := os.ReadFile(filepath.Join(r.dir, ".git", "index"))
	if err != nil {
		t.Fatal(err)
	}
	for n := range whole {
		if n > len(whole)-20 && n < len(whole) {
			continue // the checksum is not checked
		}
		if err := Own(append([]byte(nil), whole[:n]...), "sha1", 1); err == nil && n < 12+2*64 {
			t.Errorf("the first %d of %d bytes are taken", n, len(whole))
		}
	}
	for at, b := range map[int]byte{0: 'X', 7: 4, 8: 255, 11: 200} {
		bad := append([]byte(nil), whole...)
		bad[at] = b
		if err := Own(bad, "sha1", 1); !errors.Is(err, ErrIndex) {
			t.Errorf("with byte %d = %d: %v", at, b, err)
		}
	}
}

// FuzzOwn: an index may be anything, and at most an error.
func FuzzOwn(f *testing.F) {
	f.Add([]byte("DIRC\x00\x00\x00\x02\x00\x00\x00\x00"), true)
	f.Add(append([]byte("DIRC\x00\x00\x00\x03\x00\x00\x00\x01"), make([]byte, 120)...), false)
	f.Fuzz(func(t *testing.T, index []byte, long bool) {
		format := "sha1"
		if long {
			format = "sha256"
		}
		before := len(index)
		if err := Own(index, format, 10000); err == nil && len(index) != before {
			t.Error("its length has changed")
		}
	})
}

type repository struct {
	t   *testing.T
	dir string
}

func newRepository(t *testing.T, init ...string) *repository {
	r := &repository{t, t.TempDir()}
	need.Program(t, "git")
	args := []string{"init", "-q"}
	if len(init) == 2 { // a setting
		r.git(args...)
		r.git("config", "index.skipHash", "true")
		return r
	}
	r.git(append(args, init...)...)
	return r
}

func (r *repository) write(name string) {
	r.t.Helper()
	path := filepath.Join(r.dir, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(name), 0o644); err != nil {
		r.t.Fatal(err)
	}
}

func (r *repository) git(args ...string) string {
	r.t.Helper()
	cmd := exec.Command("git", args...)
	cmd.Dir = r.dir
	cmd.Env = append(os.Environ(), "HOME="+r.dir, "GIT_CONFIG_NOSYSTEM=1")
	out, err := cmd.CombinedOutput()
	if err != nil {
		r.t.Fatalf("git %s: %v\n%s", strings.Join(args, " "), err, out)
	}
	return string(out)
}
