package snapshottest

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"

	"github.com/berth-go/berth/orchestrator"
)

var contentCases = []testCase{
	{"what is put is read, whatever its size", func(f fixture) {
		for i, size := range []int{0, 1, 4096, f.Large - 1, f.Large, f.Large + 1, 3*f.Large + 17} {
			name, want := layer(fmt.Sprint("size-", size)), content(uint64(i), size)
			put := f.put(name, want)
			f.wants(name, want)
			stat, err := f.Store.Stat(f.Context(), name)
			if err != nil || stat != put {
				f.Errorf("Stat says %+v, %v; Put said %+v", stat, err, put)
			}
			if digest := fmt.Sprintf("sha256:%x", sha256.Sum256(want)); put.Name != name || put.Size != int64(size) || put.Digest != digest || put.Stored.IsZero() {
				f.Errorf("Put says %+v of %d bytes with the digest %s", put, size, digest)
			}
		}
	}},
	{"what is not there is ErrNoSnapshot and fs.ErrNotExist", func(f fixture) {
		f.absent(layer("none"))
		if _, err := f.Store.Stat(f.Context(), layer("none")); !errors.Is(err, fs.ErrNotExist) {
			f.Errorf("%v does not match fs.ErrNotExist", err)
		}
	}},
	{"a name that has a content gets another one", func(f fixture) {
		f.put(layer("a"), content(1, 3000))
		f.put(layer("a"), content(2, 200))
		f.wants(layer("a"), content(2, 200))
		if found := f.list(""); len(found) != 1 {
			f.Errorf("the list has %v", found)
		}
	}},
	{"other processes see it", func(f fixture) {
		f.put(layer("a"), content(1, 3000))
		f.Store = f.Another(f.T)
		f.wants(layer("a"), content(1, 3000))
	}},
	{"an identical content is stored once", func(f fixture) {
		want := content(1, f.Large+1)
		first := f.put(layer("a"), want)
		f.put(layer("b"), want)
		second := f.put(orchestrator.SnapshotName{Kind: orchestrator.SnapshotSession, Key: "a"}, want)
		if first.Digest != second.Digest {
			f.Errorf("one content has the digests %s and %s", first.Digest, second.Digest)
		}
		f.count(1)
		f.put(layer("c"), content(2, 10))
		f.count(2)
		if err := f.Store.Delete(f.Context(), layer("a")); err != nil {
			f.Fatal(err)
		}
		f.absent(layer("a"))
		f.wants(layer("b"), want)
	}},
	{"deleting is a success, also of what is gone", func(f fixture) {
		f.put(layer("a"), content(1, 10))
		for range 2 {
			if err := f.Store.Delete(f.Context(), layer("a")); err != nil {
				f.Fatal(err)
			}
			f.absent(layer("a"))
		}
		f.put(layer("a"), content(2, 10))
		f.wants(layer("a"), content(2, 10))
	}},
	{"names that no snapshot can have are ErrSnapshotName", func(f fixture) {
		for _, name := range []orchestrator.SnapshotName{
			{}, {Kind: "layer"}, {Key: "a"}, {Kind: "Layer", Key: "a"}, {Kind: "../x", Key: "a"}, {Kind: "averyveryverylongkind", Key: "a"},
			layer("a\x00b"), layer("a\nb"), layer("\xff"), layer(strings.Repeat("x", 81)),
		} {
			_, putting := f.Store.Put(f.Context(), name, strings.NewReader("x"))
			_, stating := f.Store.Stat(f.Context(), name)
			_, _, opening := f.Store.Open(f.Context(), name)
			for call, err := range map[string]error{"Put": putting, "Stat": stating, "Open": opening, "Delete": f.Store.Delete(f.Context(), name)} {
				if !errors.Is(err, orchestrator.ErrSnapshotName) {
					f.Errorf("%s of %q: %v", call, name, err)
				}
			}
		}
		f.count(0)
	}},
}

var listCases = []testCase{
	{"any key is possible, and differs from every other", func(f fixture) {
		keys := []string{".", "..", "../a", "/", "/etc/passwd", "a", "A", "%61", "a/b", `a\b`, "a b", "con", "*", "~", "é", "e\u0301", "names", long}
		for i, key := range keys {
			f.put(layer(key), content(uint64(i), 100))
		}
		found := f.list("")
		for i, key := range keys {
			f.wants(layer(key), content(uint64(i), 100))
			if _, ok := found[layer(key).String()]; !ok {
				f.Errorf("%q is not in the list", key)
			}
		}
		if len(found) != len(keys) {
			f.Errorf("the list has %d names, not %d", len(found), len(keys))
		}
	}},
	{"a list has one kind, or all", func(f fixture) {
		for i, kind := range []orchestrator.SnapshotKind{"layer", "layers", "session", "mirror"} {
			f.put(orchestrator.SnapshotName{Kind: kind, Key: "a"}, content(uint64(i), 10+i))
		}
		for kind, want := range map[orchestrator.SnapshotKind]string{
			"": "layer/a layers/a mirror/a session/a", "layer": "layer/a", "session": "session/a", "other": "",
		} {
			if got := strings.Join(slices.Sorted(maps.Keys(f.list(kind))), " "); got != want {
				f.Errorf("the list of %q has %s; want %s", kind, got, want)
			}
		}
	}},
	{"a list says size, digest and time", func(f fixture) {
		a, b := f.put(layer("a"), content(1, 10)), f.put(layer("b"), content(2, 2000))
		f.Pass(f.T, f.Grace)
		c := f.put(layer("c"), content(1, 10))
		found := f.list("")
		for _, want := range []orchestrator.Snapshot{a, b, c} {
			if got := found[want.Name.String()]; got.Digest != want.Digest || got.Size != want.Size {
				f.Errorf("the list has %+v; Put said %+v", got, want)
			}
		}
		if age := found["layer/c"].Stored.Sub(found["layer/a"].Stored); age < f.Grace/2 {
			f.Errorf("the content of c was stored long before as that of a, but c itself was not: it is %v younger", age)
		}
	}},
	{"a list has all pages", func(f fixture) {
		for i := range f.Many {
			f.put(layer(fmt.Sprint("key-", i)), content(7, 10))
		}
		if found := f.list(orchestrator.SnapshotLayer); len(found) != f.Many {
			f.Errorf("the list has %d snapshots, not %d", len(found), f.Many)
		}
		for range f.Store.List(f.Context(), "") {
			break // a caller may have seen enough
		}
		if done := f.collect(0); done.Bytes != 0 {
			f.Errorf("Collect says %+v", done)
		}
	}},
}
