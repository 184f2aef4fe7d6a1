package snapshottest

import (
	"bytes"
	"errors"
	"io"

	"github.com/berth-go/berth/orchestrator"
)

// damages are what can happen to a stored content. All are found when it is read.
var damages = map[string]func([]byte) []byte{
	"a bit flips":        func(p []byte) []byte { p[len(p)/2] ^= 4; return p },
	"the first bit":      func(p []byte) []byte { p[0] ^= 1; return p },
	"the last bit":       func(p []byte) []byte { p[len(p)-1] ^= 128; return p },
	"half of it is lost": func(p []byte) []byte { return p[:len(p)/2] },
	"one byte is lost":   func(p []byte) []byte { return p[:len(p)-1] },
	"all of it is lost":  func(p []byte) []byte { return p[:0] },
	"it grows":           func(p []byte) []byte { return append(p, 0) },
	"it is removed":      func([]byte) []byte { return nil },
}

var damageCases = []testCase{
	{"a damaged content is ErrSnapshotCorrupt before its end, and a new upload heals it", func(f fixture) {
		want := content(1, 2*f.Large+9)
		for damage, change := range damages {
			stored := f.put(layer("a"), want)
			f.put(layer("b"), content(2, 50))
			f.wants(layer("a"), want)
			f.ChangeContent(f.T, stored, change)
			_, err := get(f.Context(), f.Store, layer("a"))
			if !errors.Is(err, orchestrator.ErrSnapshotCorrupt) || errors.Is(err, orchestrator.ErrNoSnapshot) {
				f.Errorf("%s: %v; want ErrSnapshotCorrupt", damage, err)
			}
			f.wants(layer("b"), content(2, 50))
			if err := f.Store.Delete(f.Context(), layer("a")); err != nil {
				f.Fatal(err)
			}
			f.put(layer("a"), want)
			f.wants(layer("a"), want)
		}
	}},
	{"a reader that has found a damage says so again", func(f fixture) {
		stored := f.put(layer("a"), content(1, 100))
		f.ChangeContent(f.T, stored, damages["a bit flips"])
		r, _, err := f.Store.Open(f.Context(), layer("a"))
		if err != nil {
			f.Fatal(err)
		}
		defer r.Close()
		for range 2 {
			if _, err := io.ReadAll(r); !errors.Is(err, orchestrator.ErrSnapshotCorrupt) {
				f.Errorf("%v; want ErrSnapshotCorrupt", err)
			}
		}
	}},
	{"a damaged description is ErrSnapshotCorrupt, and spoils no list", func(f fixture) {
		f.put(layer("other"), content(2, 50))
		for damage, change := range map[string]func([]byte) []byte{
			"half of it is lost":        damages["half of it is lost"],
			"all of it is lost":         damages["all of it is lost"],
			"it is another's":           func(p []byte) []byte { return replace(p, "damaged", "another") },
			"it has no digest":          func(p []byte) []byte { return replace(p, "sha256:", "sha257:") },
			"a later version wrote it":  func(p []byte) []byte { return replace(p, `"version":1`, `"version":2`) },
			"it leads to another place": func(p []byte) []byte { return replace(p, `"blob":"`, `"blob":"../`) },
		} {
			name := layer("damaged")
			f.put(name, content(1, 100))
			f.ChangeDescription(f.T, name, change)
			_, stating := f.Store.Stat(f.Context(), name)
			_, _, opening := f.Store.Open(f.Context(), name)
			if !errors.Is(stating, orchestrator.ErrSnapshotCorrupt) || !errors.Is(opening, orchestrator.ErrSnapshotCorrupt) {
				f.Errorf("%s: Stat: %v; Open: %v; want ErrSnapshotCorrupt", damage, stating, opening)
			}
			found := f.list("")
			if _, ok := found[name.String()+"!"]; !ok || len(found) != 2 {
				f.Errorf("%s: the list has %v", damage, found)
			}
			f.collect(0)
			f.wants(layer("other"), content(2, 50))
			if err := f.Store.Delete(f.Context(), name); err != nil {
				f.Fatal(err)
			}
			f.absent(name)
		}
	}},
}

func replace(p []byte, old, new string) []byte { return bytes.Replace(p, []byte(old), []byte(new), 1) }
