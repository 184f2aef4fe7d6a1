package work

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/klauspost/compress/zstd"
)

// checkout makes a checkout with one commit.
func checkout(t *testing.T) (dir, commit string) {
	t.Helper()
	dir = filepath.Join(t.TempDir(), "checkout")
	run := func(args ...string) string {
		cmd := exec.Command("git", args...)
		cmd.Dir = dir
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_CONFIG_NOSYSTEM=1")
		out, err := cmd.CombinedOutput()
		if err != nil {
			t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	for _, name := range []string{"a", "d/b", "d/c"} {
		if err := os.MkdirAll(filepath.Dir(filepath.Join(dir, name)), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(filepath.Join(dir, name), []byte(name), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	run("init", "-q", "-b", "main")
	run("add", ".")
	run("-c", "user.name=x", "-c", "user.email=x@x", "commit", "-qm", "x")
	return dir, run("rev-parse", "HEAD")
}

// entry is one of a made stream.
type entry struct {
	kind       byte
	name, link string
	text       string
}

// made makes a stream as Pack does.
func made(t *testing.T, commit string, l list, entries ...entry) []byte {
	t.Helper()
	var out bytes.Buffer
	json.NewEncoder(&out).Encode(Head{Version: version, Commit: commit})
	z, err := zstd.NewWriter(&out)
	if err != nil {
		t.Fatal(err)
	}
	w := tar.NewWriter(z)
	text, _ := json.Marshal(l)
	for _, e := range append([]entry{{kind: tar.TypeReg, name: listName, text: string(text)}}, entries...) {
		h := &tar.Header{Typeflag: e.kind, Name: e.name, Linkname: e.link, Size: int64(len(e.text)), Mode: 0o644}
		if err := w.WriteHeader(h); err != nil {
			t.Fatal(err)
		}
		w.Write([]byte(e.text))
	}
	w.Close()
	z.Close()
	return out.Bytes()
}

// TestHostileWork: a stream that is not one of Pack changes nothing beside the checkout, whatever it names.
func TestHostileWork(t *testing.T) {
	outside := t.TempDir()
	victim := filepath.Join(outside, "victim")
	if err := os.WriteFile(victim, []byte("untouched"), 0o644); err != nil {
		t.Fatal(err)
	}
	reg := func(name string) entry { return entry{kind: tar.TypeReg, name: name, text: "planted"} }
	link := func(name, to string) entry { return entry{kind: tar.TypeSymlink, name: name, link: to} }
	for name, test := range map[string]struct {
		list    list
		entries []entry
		refused bool
	}{
		"a path that leads out":            {entries: []entry{reg("tree/../../victim")}, refused: true},
		"an absolute path":                 {entries: []entry{reg("tree/" + victim)}, refused: true},
		"a file beside the tree":           {entries: []entry{reg("victim")}, refused: true},
		"a file below a link":              {entries: []entry{link("tree/l", outside), reg("tree/l/victim")}, refused: true},
		"a file in place of a link":        {entries: []entry{link("tree/l", victim), reg("tree/l")}},
		"a directory in place of a link":   {entries: []entry{link("tree/l", outside), {kind: tar.TypeDir, name: "tree/l/"}, reg("tree/l/victim")}},
		"a hard link out":                  {entries: []entry{{kind: tar.TypeLink, name: "tree/l", link: "tree/../../victim"}, reg("tree/l")}, refused: true},
		"a hard link to what it has not":   {entries: []entry{{kind: tar.TypeLink, name: "tree/l", link: "tree/a"}}, refused: true},
		"a hard link below a link":         {entries: []entry{link("tree/l", outside), {kind: tar.TypeLink, name: "tree/m", link: "tree/l/victim"}}, refused: true},
		"a removal out":                    {list: list{Removed: [][]byte{[]byte("../../victim")}}, refused: true},
		"a removal of an absolute path":    {list: list{Removed: [][]byte{[]byte(victim)}}, refused: true},
		"a removal of all":                 {list: list{Removed: [][]byte{[]byte(".")}}, refused: true},
		"a removal of the repository":      {list: list{Removed: [][]byte{[]byte(freshName)}}, refused: true},
		"a change of the repository aside": {entries: []entry{reg("tree/" + freshName + "/config")}, refused: true},
		"a repository that is a link":      {entries: []entry{link("tree/.git", outside)}},
		"settings that are a link":         {entries: []entry{{kind: tar.TypeDir, name: "tree/.git/"}, link("tree/.git/config", victim)}, refused: true},
		"refs that are a link":             {entries: []entry{{kind: tar.TypeDir, name: "tree/.git/"}, link("tree/.git/packed-refs", victim)}, refused: true},
		"objects that are a link":          {entries: []entry{{kind: tar.TypeDir, name: "tree/.git/"}, link("tree/.git/objects", outside)}, refused: true},
		"a device":                         {entries: []entry{{kind: tar.TypeChar, name: "tree/l"}}, refused: true},
	} {
		t.Run(name, func(t *testing.T) {
			dir, commit := checkout(t)
			err := Unpack(dir, bytes.NewReader(made(t, commit, test.list, test.entries...)))
			if test.refused != (err != nil) {
				t.Errorf("Unpack returned %v", err)
			}
			if text, err := os.ReadFile(victim); err != nil || string(text) != "untouched" {
				t.Errorf("the file outside is %q, %v", text, err)
			}
			if list, err := os.ReadDir(outside); err != nil || len(list) != 1 {
				t.Errorf("outside there are %v, %v", list, err)
			}
		})
	}
}

// TestOnlyWhatHasChangedIsPacked: a change that a session hides by setting times back is found by the time that it cannot set.
func TestOnlyWhatHasChangedIsPacked(t *testing.T) {
	dir, commit := checkout(t)
	index := filepath.Join(filepath.Dir(dir), "index")
	was, err := os.Stat(filepath.Join(dir, "a"))
	if err != nil {
		t.Fatal(err)
	}
	pack := func() (names []string) {
		t.Helper()
		p := &packer{limit: was.ModTime().AddDate(1, 0, 0), links: make(map[inode]string), seen: make(map[string]bool), buf: make([]byte, 1<<10)}
		var out bytes.Buffer
		if err := p.pack(dir, index, commit, &out); err != nil {
			t.Fatal(err)
		}
		z, err := zstd.NewReader(&out)
		if err != nil {
			t.Fatal(err)
		}
		defer z.Close()
		for r := tar.NewReader(z); ; {
			h, err := r.Next()
			if err != nil {
				return names
			}
			if !strings.HasPrefix(h.Name, treeName+".git") && h.Name != listName {
				names = append(names, h.Name)
			}
		}
	}
	if got := strings.Join(pack(), " "); got != "tree/a tree/d/ tree/d/b tree/d/c" {
		t.Errorf("without an index: %s", got)
	}
	made, err := os.ReadFile(filepath.Join(dir, ".git/index"))
	if err != nil {
		t.Fatal(err)
	}
	waitTick(t, dir)
	if err := os.WriteFile(index, made, 0o644); err != nil {
		t.Fatal(err)
	}
	if got := pack(); len(got) > 0 {
		t.Errorf("nothing was changed: %v", got)
	}
	waitTick(t, dir)
	if err := os.WriteFile(filepath.Join(dir, "a"), []byte("b"), 0o644); err != nil {
		t.Fatal(err)
	}
	if err := os.Chtimes(filepath.Join(dir, "a"), was.ModTime(), was.ModTime()); err != nil {
		t.Fatal(err)
	}
	if got := strings.Join(pack(), " "); got != "tree/a" {
		t.Errorf("a was changed: %s", got)
	}
}

// waitTick waits until the clock of the file system has moved on.
func waitTick(t *testing.T, dir string) {
	t.Helper()
	name := filepath.Join(filepath.Dir(dir), "tick")
	touch := func() os.FileInfo {
		if err := os.WriteFile(name, nil, 0o644); err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(name)
		if err != nil {
			t.Fatal(err)
		}
		return info
	}
	for first := touch(); !touch().ModTime().After(first.ModTime()); os.Remove(name) {
	}
}
