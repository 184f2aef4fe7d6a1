package daemon

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-go/berth/internal/test/need"
)

// TestWhatACheckoutMayLeave: a checkout becomes a tree only if git's index and the directories are what they seem.
func TestWhatACheckoutMayLeave(t *testing.T) {
	need.Root(t)
	neighbour := t.TempDir()
	if err := os.MkdirAll(neighbour+"/.git/index", 0o755); err != nil {
		t.Fatal(err)
	}
	for name, c := range map[string]struct {
		change func(top string) error
		ok     bool
	}{
		"nothing else":    {func(string) error { return nil }, true},
		"a linked index":  {func(top string) error { return relink(top+"/tree/.git/index", "/etc/shadow") }, false},
		"a linked .git":   {func(top string) error { return relink(top+"/tree/.git", "/etc") }, false},
		"a linked top":    {func(top string) error { return relink(top+"/tree", neighbour) }, false},
		"no index":        {func(top string) error { return os.Remove(top + "/tree/.git/index") }, false},
		"a large index":   {func(top string) error { return os.Truncate(top+"/tree/.git/index", maxIndex+1) }, false},
		"an index of one": {func(top string) error { return relink(top+"/tree/.git/index", "HEAD") }, false},
	} {
		top, to := t.TempDir(), t.TempDir()
		if err := os.MkdirAll(filepath.Join(top, "tree", ".git"), 0o755); err != nil {
			t.Fatal(err)
		}
		for _, file := range []string{"file", ".git/index", ".git/HEAD"} {
			if err := os.WriteFile(filepath.Join(top, "tree", file), []byte(file), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if err := c.change(top); err != nil {
			t.Fatal(err)
		}
		err := take(filepath.Join(top, "tree"), filepath.Join(to, "files"), filepath.Join(to, "index"))
		if (err == nil) != c.ok {
			t.Errorf("%s: %v", name, err)
		}
		if got, err := os.ReadFile(filepath.Join(to, "index")); c.ok && (err != nil || string(got) != ".git/index") {
			t.Errorf("%s: the index has %q, %v", name, got, err)
		}
		if _, err := os.Lstat(filepath.Join(to, "files", ".git")); !os.IsNotExist(err) {
			t.Errorf("%s: the repository is in the tree: %v", name, err)
		}
		if _, err := os.Lstat(neighbour + "/.git/index"); err != nil {
			t.Errorf("%s: a neighbour's repository has changed: %v", name, err)
		}
	}
}

// relink puts a link in the place of a file or a directory.
func relink(name, target string) error {
	if err := os.RemoveAll(name); err != nil {
		return err
	}
	return os.Symlink(target, name)
}
