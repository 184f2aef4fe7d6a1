package snapshottest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"testing/iotest"

	"github.com/berth-go/berth/orchestrator"
)

var errSource = errors.New("the source of the content failed")

var brokenCases = []testCase{
	{"half an upload is never seen", func(f fixture) {
		f.put(layer("a"), content(1, 100))
		for _, name := range []orchestrator.SnapshotName{layer("a"), layer("b")} {
			source, feed := io.Pipe()
			ended := make(chan error, 1)
			go func() {
				_, err := f.Store.Put(f.Context(), name, source)
				ended <- err
			}()
			want := content(2, 2*f.Large)
			if _, err := feed.Write(want[:f.Large+5]); err != nil { // returns when Put has read it
				f.Fatal(err)
			}
			other := f.Another(f.T)
			f.wants(layer("a"), content(1, 100))
			for s, err := range other.List(f.Context(), "") {
				if err != nil || s.Name != layer("a") || s.Size != 100 {
					f.Errorf("during an upload the list has %+v, %v", s, err)
				}
			}
			f.count(1)
			feed.CloseWithError(errSource)
			if err := <-ended; !errors.Is(err, errSource) {
				f.Errorf("Put of a source that fails: %v", err)
			}
			f.wants(layer("a"), content(1, 100))
			f.count(1)
			if left := f.Uploads(f.T); left != 0 {
				f.Errorf("%d uploads are left of a Put that failed", left)
			}
		}
		f.absent(layer("b"))
	}},
	{"a source may give its content in pieces of any size", func(f fixture) {
		want := content(1, 3000)
		for key, source := range map[string]io.Reader{
			"one": iotest.OneByteReader(bytes.NewReader(want)), "half": iotest.HalfReader(bytes.NewReader(want)), "last": iotest.DataErrReader(bytes.NewReader(want)),
		} {
			if _, err := f.Store.Put(f.Context(), layer(key), source); err != nil {
				f.Fatal(err)
			}
			f.wants(layer(key), want)
		}
	}},
	{"a context that has ended ends every call", func(f fixture) {
		f.put(layer("a"), content(1, 100))
		reason := errors.New("the caller has gone")
		ctx, cancel := context.WithCancelCause(f.Context())
		r, _, err := f.Store.Open(ctx, layer("a"))
		if err != nil {
			f.Fatal(err)
		}
		defer r.Close()
		cancel(reason)
		_, reading := r.Read(make([]byte, 10))
		_, putting := f.Store.Put(ctx, layer("b"), bytes.NewReader(content(2, 100)))
		_, stating := f.Store.Stat(ctx, layer("a"))
		_, _, opening := f.Store.Open(ctx, layer("a"))
		_, collecting := f.Store.Collect(ctx)
		faults := map[string]error{"Read": reading, "Put": putting, "Stat": stating, "Open": opening, "Collect": collecting, "Delete": f.Store.Delete(ctx, layer("a"))}
		for _, err := range f.Store.List(ctx, "") {
			faults["List"] = err
		}
		for _, call := range []string{"Read", "Put", "Stat", "Open", "Collect", "Delete", "List"} {
			if err := faults[call]; !errors.Is(err, reason) && !errors.Is(err, context.Canceled) {
				f.Errorf("%s after the context ended: %v", call, err)
			}
		}
		f.wants(layer("a"), content(1, 100))
		f.absent(layer("b"))
	}},
	{"a context that ends during an upload leaves nothing", func(f fixture) {
		ctx, cancel := context.WithCancel(f.Context())
		defer cancel()
		source := io.MultiReader(bytes.NewReader(content(1, f.Large+5)), readFunc(func(p []byte) (int, error) {
			cancel()
			return copy(p, "x"), nil
		}))
		if _, err := f.Store.Put(ctx, layer("a"), source); !errors.Is(err, context.Canceled) {
			f.Errorf("Put: %v", err)
		}
		f.absent(layer("a"))
		f.count(0)
		if left := f.Uploads(f.T); left != 0 {
			f.Errorf("%d uploads are left", left)
		}
	}},
}

type readFunc func(p []byte) (int, error)

func (r readFunc) Read(p []byte) (int, error) { return r(p) }
