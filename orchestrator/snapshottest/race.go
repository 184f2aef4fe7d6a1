package snapshottest

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/berth-go/berth/orchestrator"
)

const writers = 6

var raceCases = []testCase{
	{"of two writers of one name the name has the content of one, whole", func(f fixture) {
		sizes := make(map[int]uint64) // of the contents, which differ
		for i := range writers {
			sizes[f.Large/2+i*f.Large/4] = uint64(i)
		}
		var group, reader sync.WaitGroup
		done := make(chan struct{})
		for size, seed := range sizes {
			store := f.Another(f.T)
			group.Go(func() {
				for range 3 {
					if _, err := store.Put(f.Context(), layer("a"), bytes.NewReader(content(seed, size))); err != nil {
						f.Errorf("Put: %v", err)
					}
				}
			})
		}
		whole := func() (found bool) {
			got, err := get(f.Context(), f.Store, layer("a"))
			if errors.Is(err, orchestrator.ErrNoSnapshot) {
				return false
			}
			if seed, ok := sizes[len(got)]; err != nil || !ok || !bytes.Equal(got, content(seed, len(got))) {
				f.Errorf("a reader found %d bytes, %v", len(got), err)
			}
			return true
		}
		reader.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
					whole()
				}
			}
		})
		group.Wait()
		close(done)
		reader.Wait()
		if !whole() {
			f.Error("no writer has written")
		}
		f.count(writers)
	}},
	{"writers of one content store it once", func(f fixture) {
		want := content(1, 2*f.Large)
		var group sync.WaitGroup
		for i := range writers {
			store := f.Another(f.T)
			group.Go(func() {
				if _, err := store.Put(f.Context(), layer(fmt.Sprint("w-", i)), bytes.NewReader(want)); err != nil {
					f.Errorf("Put: %v", err)
				}
			})
		}
		group.Wait()
		f.count(1)
		for i := range writers {
			f.wants(layer(fmt.Sprint("w-", i)), want)
		}
	}},
	{"a snapshot that is deleted or replaced while it is read is read whole, or its reader fails", func(f fixture) {
		want := content(1, 3*f.Large)
		for change, act := range map[string]func() error{
			"deleted": func() error { return f.Store.Delete(f.Context(), layer("a")) },
			"replaced": func() error {
				_, err := f.Another(f.T).Put(f.Context(), layer("a"), bytes.NewReader(content(2, 2*f.Large)))
				return err
			},
			"collected": func() error {
				err := f.Store.Delete(f.Context(), layer("a"))
				for range 2 {
					_, collecting := f.Store.Collect(f.Context())
					err = errors.Join(err, collecting)
					f.Pass(f.T, f.Grace+time.Minute)
				}
				return err
			},
		} {
			f.put(layer("a"), want)
			r, _, err := f.Store.Open(f.Context(), layer("a"))
			if err != nil {
				f.Fatal(err)
			}
			got := make([]byte, f.Large/2)
			if _, err := io.ReadFull(r, got); err != nil {
				f.Fatal(err)
			}
			if err := act(); err != nil {
				f.Fatalf("%s: %v", change, err)
			}
			rest, err := io.ReadAll(r)
			got = append(got, rest...)
			if err == nil && !bytes.Equal(got, want) || err != nil && !bytes.HasPrefix(want, got) {
				f.Errorf("%s: the reader got %d bytes, %v, which are not those of %d that it opened", change, len(got), err, len(want))
			}
			r.Close()
		}
	}},
	{"lists, reads, deletes and collections may run beside uploads", func(f fixture) {
		var group sync.WaitGroup
		for i := range writers {
			store := f.Another(f.T)
			group.Go(func() {
				for range 4 {
					name, want := layer(fmt.Sprint("own-", i)), content(uint64(i%2), 500)
					_, putting := store.Put(f.Context(), name, bytes.NewReader(want))
					got, getting := get(f.Context(), store, name)
					for _, err := range store.List(f.Context(), "") {
						putting = errors.Join(putting, err)
					}
					_, collecting := store.Collect(f.Context())
					err := errors.Join(putting, getting, collecting, store.Delete(f.Context(), name))
					if err != nil || !bytes.Equal(got, want) {
						f.Errorf("%s: %d bytes, %v", name, len(got), err)
					}
				}
			})
		}
		group.Wait()
		if found := f.list(""); len(found) != 0 {
			f.Errorf("the list has %v", found)
		}
	}},
}
