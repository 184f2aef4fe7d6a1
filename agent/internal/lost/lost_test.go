package lost_test

import (
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent/internal/lost"
	"github.com/berth-go/berth/internal/test/need"
)

func whole() error { return nil }

// open opens a store in a directory that is root's.
func open(t *testing.T, dir string) *lost.Store {
	t.Helper()
	need.Root(t) // what another owns is not used
	s, err := lost.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

func content(t *testing.T, s *lost.Store, name string) string {
	t.Helper()
	h, in, err := s.Find(name)
	if errors.Is(err, lost.ErrNone) {
		return ""
	}
	if err != nil || h.Name != name {
		t.Fatal(h, err)
	}
	defer in.Close()
	b, err := io.ReadAll(in)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}

// TestKeep: work is there again under its name, also after the store was opened again, and nothing that was not whole.
func TestKeep(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "lost")
	s := open(t, dir)
	bounds := lost.Bounds{Count: 3, Bytes: 1000, Age: time.Hour}
	if _, err := s.Keep("a/../b", "main", bounds, strings.NewReader("one"), whole); err != nil {
		t.Fatal(err)
	}
	if _, err := s.Keep("half", "main", bounds, strings.NewReader("half"), func() error { return errors.New("it died") }); err == nil {
		t.Error("half of a work is kept")
	}
	if _, err := s.Keep("large", "main", bounds, strings.NewReader(strings.Repeat("x", 1001)), whole); err == nil || !strings.Contains(err.Error(), "more than 1000 bytes") {
		t.Errorf("a work over the bounds: %v", err)
	}
	s = open(t, dir)
	for name, want := range map[string]string{"a/../b": "one", "half": "", "large": "", "other": ""} {
		if got := content(t, s, name); got != want {
			t.Errorf("%s has %q, want %q", name, got, want)
		}
	}
	if entries, err := os.ReadDir(dir); err != nil || len(entries) != 1 {
		t.Errorf("%v, %v", entries, err)
	}
}

// TestBounds: the oldest go that are over the bounds, and what is too old.
func TestBounds(t *testing.T) {
	s := open(t, filepath.Join(t.TempDir(), "lost"))
	synctest.Test(t, func(t *testing.T) {
		keep := func(name string, size int, b lost.Bounds) {
			t.Helper()
			if _, err := s.Keep(name, "", b, strings.NewReader(strings.Repeat("x", size)), whole); err != nil {
				t.Fatal(err)
			}
			time.Sleep(time.Minute)
		}
		there := func(want ...string) {
			t.Helper()
			var got []string
			for _, name := range []string{"a", "b", "c", "d", "e"} {
				if content(t, s, name) != "" {
					got = append(got, name)
				}
			}
			if fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("there are %v, want %v", got, want)
			}
		}
		b := lost.Bounds{Count: 3, Bytes: 10_000, Age: time.Hour}
		for _, name := range []string{"a", "b", "c", "d"} {
			keep(name, 100, b)
		}
		there("b", "c", "d")
		keep("e", 9_000, lost.Bounds{Count: 3, Bytes: 9_400, Age: 10 * time.Minute})
		there("d", "e")
		time.Sleep(10 * time.Minute)
		there("d")
		if s.Size() < 9_000 {
			t.Error("what is too old goes with the next work, or when the store is opened")
		}
		keep("a", 100, b)
		there("a", "d")
		if s.Size() > 1000 {
			t.Errorf("%d bytes are left", s.Size())
		}
	})
}

// TestAForeignDirectory is not used: the one above it is not root's alone.
func TestAForeignDirectory(t *testing.T) {
	dir := t.TempDir()
	target := filepath.Join(dir, "target")
	if err := os.Mkdir(target, 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(target, filepath.Join(dir, "lost")); err != nil {
		t.Fatal(err)
	}
	s := open(t, filepath.Join(dir, "lost"))
	if _, err := s.Keep("a", "", lost.Bounds{Count: 1, Bytes: 10, Age: time.Hour}, strings.NewReader("x"), whole); err != nil {
		t.Fatal(err)
	}
	if entries, err := os.ReadDir(target); err != nil || len(entries) > 0 {
		t.Errorf("%v, %v", entries, err)
	}
}
