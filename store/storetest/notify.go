package storetest

import (
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

var notifyCases = []testCase{
	{"a Put wakes the watchers of the record", putWakes},
	{"a Delete wakes the watchers of the record", deleteWakes},
	{"a record may be watched before it exists", absentWakes},
	{"everybody who watches a record wakes", everybodyWakes},
	{"nobody need receive: several commits give one value", wakesCoalesce},
	{"who wakes and looks sees the commit", wakeSeesCommit},
	{"a channel that was stopped is not closed, and stopping twice is harmless", stopReleases},
	{"Watch tells the keys of the records that commits touch", watchTellsKeys},
	{"a Watch that was stopped tells nothing, and stopping twice is harmless", watchStops},
}

// requireWake waits for a value.
func requireWake(t *testing.T, what string, wake <-chan struct{}) {
	t.Helper()
	select {
	case _, ok := <-wake:
		if !ok {
			t.Fatalf("%s: the channel was closed", what)
		}
	case <-time.After(patience):
		t.Fatalf("%s: no wake", what)
	}
}

func putWakes(t *testing.T, h *handle) {
	for i, like := range everyKind() {
		r := filled(like, i)
		h.put(r)
		wake, stop := h.Notify(r.Key())
		h.put(r)
		requireWake(t, r.Key().String(), wake)
		stop()
	}
}

func deleteWakes(t *testing.T, h *handle) {
	r := filled(&store.Session{}, 1)
	h.put(r)
	wake, stop := h.Notify(r.Key())
	defer stop()
	h.delete(r.Key())
	requireWake(t, "Delete", wake)
}

func absentWakes(t *testing.T, h *handle) {
	r := filled(&store.Container{}, 1)
	wake, stop := h.Notify(r.Key())
	defer stop()
	h.put(r)
	requireWake(t, "Put", wake)
}

func everybodyWakes(t *testing.T, h *handle) {
	r := filled(&store.Container{}, 1)
	first, stopFirst := h.Notify(r.Key())
	second, stopSecond := h.Notify(r.Key())
	defer stopSecond()
	h.put(r)
	requireWake(t, "the first", first)
	requireWake(t, "the second", second)
	stopFirst()
	h.put(r)
	requireWake(t, "the second, when the first has stopped", second)
}

func wakesCoalesce(t *testing.T, h *handle) {
	r := filled(&store.Lease{}, 1)
	wake, stop := h.Notify(r.Key())
	defer stop()
	for range 50 {
		h.put(r)
	}
	requireWake(t, "after 50 commits", wake)
}

func wakeSeesCommit(t *testing.T, h *handle) {
	const last = 100
	key := store.InstanceKey("counter")
	wake, stop := h.Notify(key)
	defer stop()
	done := make(chan struct{})
	go func() {
		defer close(done)
		for range last {
			if err := h.Update(h.ctx, []store.Key{key}, func(tx store.Tx) error { return add(tx, key, 1) }); err != nil {
				t.Errorf("Update: %v", err)
			}
		}
	}()
	for count(h.get(key)) < last && !t.Failed() {
		requireWake(t, "while the record changes", wake)
	}
	<-done
}

func stopReleases(t *testing.T, h *handle) {
	r := filled(&store.Lease{}, 1)
	wake, stop := h.Notify(r.Key())
	stop()
	stop()
	h.put(r)
	if err := h.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	stop()
	select {
	case _, ok := <-wake:
		if !ok {
			t.Error("the channel was closed")
		}
	default:
	}
}

// touchedBy returns the keys that Watch reports, until the test ends.
func touchedBy(t *testing.T, h *handle) (touched <-chan store.Key, stop func()) {
	t.Helper()
	watcher, ok := h.Store.(store.Watcher)
	if !ok {
		t.Skip("the store does not say which records change")
	}
	keys := make(chan store.Key, 100)
	stop = watcher.Watch(func(key store.Key) {
		select {
		case keys <- key:
		default:
		}
	})
	t.Cleanup(stop)
	return keys, stop
}

func watchTellsKeys(t *testing.T, h *handle) {
	touched, _ := touchedBy(t, h)
	r := filled(&store.Session{}, 1)
	for _, change := range []func(){func() { h.put(r) }, func() { h.delete(r.Key()) }} {
		change()
		for key := (store.Key{}); key != r.Key(); {
			select {
			case key = <-touched:
			case <-time.After(patience):
				t.Fatal("Watch does not report the commit")
			}
		}
	}
}

func watchStops(t *testing.T, h *handle) {
	stopped, stop := touchedBy(t, h)
	stop()
	stop()
	for len(stopped) > 0 {
		<-stopped
	}
	others, _ := touchedBy(t, h)
	h.put(filled(&store.Session{}, 1))
	select {
	case <-others:
	case <-time.After(patience):
		t.Fatal("Watch does not report the commit")
	}
	if len(stopped) > 0 {
		t.Errorf("after stop, Watch reports %v", <-stopped)
	}
}
