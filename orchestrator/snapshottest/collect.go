package snapshottest

import (
	"bytes"
	"io"
	"time"

	"github.com/berth-go/berth/orchestrator"
)

var collectCases = []testCase{
	{"a content goes when it has had no name for a grace period", func(f fixture) {
		f.put(layer("kept"), content(1, 100))
		f.put(layer("also"), content(1, 100))
		f.put(layer("gone"), content(2, f.Large+50))
		f.put(layer("replaced"), content(3, 300))
		f.Pass(f.T, 10*f.Grace) // age alone is no reason
		f.collect(0)
		for _, name := range []orchestrator.SnapshotName{layer("gone"), layer("also")} {
			if err := f.Store.Delete(f.Context(), name); err != nil {
				f.Fatal(err)
			}
		}
		f.put(layer("replaced"), content(4, 40))
		f.collect(0)
		f.Pass(f.T, f.Grace/2)
		f.collect(0)
		f.count(4)
		f.Pass(f.T, f.Grace)
		done := f.collect(2)
		if want := int64(f.Large + 50 + 300); done.Bytes != want {
			f.Errorf("Collect says that %d bytes went, not %d", done.Bytes, want)
		}
		f.count(2)
		f.collect(0)
		f.wants(layer("kept"), content(1, 100))
		f.wants(layer("replaced"), content(4, 40))
	}},
	{"a content that gets a name again stays", func(f fixture) {
		for _, wait := range []int{0, 1, 3} { // quarters of the grace period after it was found without a name
			want := content(uint64(wait), 100)
			f.put(layer("a"), want)
			if err := f.Store.Delete(f.Context(), layer("a")); err != nil {
				f.Fatal(err)
			}
			f.collect(0)
			f.Pass(f.T, f.Grace/4*time.Duration(wait))
			f.put(layer("b"), want)
			for range 3 {
				f.Pass(f.T, f.Grace+time.Minute)
				if _, err := f.Store.Collect(f.Context()); err != nil {
					f.Fatal(err)
				}
				f.wants(layer("b"), want)
			}
			f.count(1)
			if err := f.Store.Delete(f.Context(), layer("b")); err != nil {
				f.Fatal(err)
			}
			f.collect(0)
			f.Pass(f.T, f.Grace+time.Minute)
			f.collect(1)
		}
	}},
	{"a content that was collected can be stored again", func(f fixture) {
		for range 2 {
			f.put(layer("a"), content(1, 100))
			if err := f.Store.Delete(f.Context(), layer("a")); err != nil {
				f.Fatal(err)
			}
			f.collect(0)
			f.Pass(f.T, f.Grace+time.Minute)
			f.collect(1)
			f.count(0)
		}
	}},
	{"an upload under way is not collected", func(f fixture) {
		source, feed := io.Pipe()
		ended := make(chan error, 1)
		go func() {
			_, err := f.Store.Put(f.Context(), layer("a"), source)
			ended <- err
		}()
		want := content(1, 2*f.Large)
		if _, err := feed.Write(want[:f.Large]); err != nil {
			f.Fatal(err)
		}
		f.collect(0)
		if _, err := feed.Write(want[f.Large:]); err != nil {
			f.Fatal(err)
		}
		f.collect(0)
		feed.Close()
		if err := <-ended; err != nil {
			f.Fatalf("Put: %v", err)
		}
		f.collect(0)
		f.wants(layer("a"), want)
	}},
	{"a sweep keeps what a newer name has", func(f fixture) {
		shared := content(1, 1000)
		f.put(layer("old"), shared)
		f.put(layer("older"), content(2, 1000))
		f.Pass(f.T, f.Grace)
		f.put(layer("new"), shared)
		newest := f.put(orchestrator.SnapshotName{Kind: orchestrator.SnapshotMirror, Key: "any"}, content(3, 10))
		keep := map[orchestrator.SnapshotKind]orchestrator.Retention{orchestrator.SnapshotLayer: {MaxAge: f.Grace / 2}}
		for sweep, want := range []orchestrator.Swept{
			{Kept: 2, Removed: 2}, {Kept: 2, Collected: orchestrator.Collected{Contents: 1, Bytes: 1000}},
		} {
			swept, err := orchestrator.SweepSnapshots(f.Context(), f.Store, keep, f.list("")["mirror/any"].Stored)
			if err != nil || swept != want {
				f.Errorf("sweep %d: %+v, %v; want %+v", sweep, swept, err, want)
			}
			f.Pass(f.T, f.Grace+time.Minute)
			f.put(layer("new"), shared) // or it would have become too old
			f.put(newest.Name, content(3, 10))
		}
		if got, err := get(f.Context(), f.Store, layer("new")); err != nil || !bytes.Equal(got, shared) {
			f.Errorf("%d bytes, %v", len(got), err)
		}
		f.count(2)
	}},
}
