package mirror

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent/internal/git"
)

const id = "0123456789abcdef0123456789abcdef01234567"

func TestReadTree(t *testing.T) {
	for text, want := range map[string]Tree{
		"":                                    {},
		"100644 blob " + id + "     5\tf\x00": {1, 5, 0},
		"040000 tree " + id + "       -\td\x00100644 blob " + id + "  7\td/f\x00160000 commit " + id + " -\ts\x00": {3, 7, 1},
		"100644 blob " + id + " BAD\tx\ny/z\x00":                              {1, 0, 1},
		"100644 blob " + id + " 1\t" + strings.Repeat("d/", 60_000) + "f\x00": {1, 1, 60_000},
	} {
		got, err := readTree(strings.NewReader(text), func(Tree) error { return nil })
		if err != nil || got != want {
			t.Errorf("%.60q: %+v, %v; want %+v", text, got, err, want)
		}
	}
	for _, text := range []string{"x", "a b\tc\x00", "100644 blob " + id + " 1\tcut off", "100644 blob " + id + " many\tx\x00", strings.Repeat("x", 100_000)} {
		if got, err := readTree(strings.NewReader(text), func(Tree) error { return nil }); err == nil {
			t.Errorf("%.60q: %+v", text, got)
		}
	}
}

// endless repeats a text without end.
type endless struct {
	text string
	at   int
	read int
}

func (e *endless) Read(p []byte) (int, error) {
	n := copy(p, e.text[e.at:])
	e.at, e.read = (e.at+n)%len(e.text), e.read+n
	return n, nil
}

// TestEndlessOutputIsCutOff soon, whatever git prints without end.
func TestEndlessOutputIsCutOff(t *testing.T) {
	limits := Limits{}.Set()
	for name, text := range map[string]string{
		"files":       "100644 blob " + id + " 1\tname\x00",
		"directories": "040000 tree " + id + " -\tname\x00",
		"large files": "100644 blob " + id + " 99999999999\tname\x00",
		"no entry":    "xxxx",
	} {
		before := heap()
		out := &endless{text: text}
		if _, err := readTree(out, limits.checkTree); err == nil || name != "no entry" && !isRefusal(err) {
			t.Errorf("%s: %v", name, err)
		}
		if out.read > 200<<20 {
			t.Errorf("%s: %d bytes were read", name, out.read)
		}
		if grown := int64(heap()) - int64(before); grown > 1<<20 {
			t.Errorf("%s: %d bytes are kept", name, grown)
		}
	}
	if _, err := parseHead(&endless{text: id + "\trefs/heads/HEAD\n"}); err != nil {
		t.Error(err)
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}

// writeRefs makes the files of a repository with n branches and n tags.
func writeRefs(t *testing.T, n int, name string) (repo string) {
	t.Helper()
	repo = filepath.Join(t.TempDir(), "repo.git")
	if err := os.Mkdir(repo, 0o755); err != nil {
		t.Fatal(err)
	}
	for file, text := range map[string]string{"config": "[core]\n", "HEAD": id + "\n"} {
		if err := os.WriteFile(filepath.Join(repo, file), []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	f, err := os.Create(filepath.Join(repo, "packed-refs"))
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	w := bufio.NewWriter(f)
	fmt.Fprintf(w, "%s", PackedHeader)
	for i := range n {
		fmt.Fprintf(w, "%s refs/heads/%s%07d\n", id, name, i)
	}
	fmt.Fprintf(w, "%s refs/notes/commits\n^%s\n", id, id)
	for i := range n {
		fmt.Fprintf(w, "%s refs/tags/%s%07d\n^%s\n", id, name, i, id)
	}
	if err := w.Flush(); err != nil {
		t.Fatal(err)
	}
	return repo
}

// TestRefsTakeNoMemory, however many there are and however long their names.
func TestRefsTakeNoMemory(t *testing.T) {
	for _, c := range []struct {
		n    int
		name string
	}{{200_000, "b"}, {10_000, strings.Repeat("long/", 400)}} {
		repo := writeRefs(t, c.n, c.name)
		before := heap()
		refs, err := readRefs(repo, noLimits)
		if err != nil {
			t.Fatal(err)
		}
		if grown := int64(heap()) - int64(before); grown > 4<<20 {
			t.Errorf("%d refs take %d KiB", 2*c.n, grown>>10)
		}
		for _, i := range []int{0, 1, c.n / 3, c.n - 1} {
			name := fmt.Sprintf("%s%07d", c.name, i)
			branch, err1 := refs.Branch(name)
			tag, err2 := refs.tag(name)
			if branch != id || tag != id || err1 != nil || err2 != nil {
				t.Errorf("%.20s: %q, %q, %v, %v", name, branch, tag, err1, err2)
			}
		}
		for _, name := range []string{"", "a", "zzz", c.name, fmt.Sprintf("%s%07d", c.name, c.n), "commits"} {
			if branch, err := refs.Branch(name); branch != "" || err != nil {
				t.Errorf("%q: %q, %v", name, branch, err)
			}
		}
		if target, err := refs.standard(); err != nil || target.Branch != fmt.Sprintf("%s%07d", c.name, 0) {
			t.Errorf("HEAD is %.30q, %v", target.Branch, err)
		}
		if n, err := io.Copy(io.Discard, refs.Packed()); n != refs.size || err != nil {
			t.Errorf("%d bytes of %d, %v", n, refs.size, err)
		}
		refs.close()
	}
}

func TestTooManyRefs(t *testing.T) {
	repo := writeRefs(t, 1000, "b")
	for setting, limits := range map[string]Limits{"Refs": {Refs: 1999}, "RefBytes": {RefBytes: 1000}} {
		_, err := readRefs(repo, limits.Set())
		if failed, ok := errors.AsType[*git.Error](err); !ok || !strings.HasSuffix(failed.Message, "(Config.Limits.Repository."+setting+")") || !isRefusal(err) {
			t.Errorf("%s: %v", setting, err)
		}
	}
	if refs, err := readRefs(repo, Limits{Refs: 2000}.Set()); err != nil || refs.branches+refs.tags != 2000 {
		t.Errorf("%v", err)
	}
	if left, _ := filepath.Glob(filepath.Join(filepath.Dir(repo), ".refs*")); len(left) > 0 {
		t.Errorf("there is %v", left)
	}
	if err := os.WriteFile(filepath.Join(repo, "packed-refs"), []byte(id+" refs/heads/"+strings.Repeat("x", maxRefLine)), 0o644); err != nil {
		t.Fatal(err)
	}
	if _, err := readRefs(repo, noLimits); err == nil {
		t.Error("a line of any length is read")
	}
}
