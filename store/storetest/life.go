package storetest

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

var leaseCases = []testCase{
	{"CheckFence passes the holder of a lease and nobody else", checkFence},
	{"an Update that CheckFence stops changes nothing", fencedWritesNothing},
}

var lifeCases = []testCase{
	{"a View returns its function's own error", viewReturnsError},
	{"a context that has ended starts nothing", endedContext},
	{"a context that ends in an Update gives all or nothing", contextEndsInUpdate},
	{"after Close everything is ErrClosed", closed},
	{"Close wakes watchers or leaves them, and Notify still answers", closedNotify},
}

func checkFence(_ *testing.T, h *handle) {
	held := store.Lease{ID: "planner", Holder: "me", Fence: 7, Beat: 1, Term: time.Second}
	check := func(what string, want error) {
		h.t.Helper()
		h.update(func(tx store.Tx) error { return is(what, store.CheckFence(tx, held), want) }, held.Key())
	}
	check("a lease that is not there", store.ErrFenced)
	h.put(&held)
	check("my lease", nil)
	later := held
	later.Beat, later.Term = 99, time.Minute
	h.put(&later)
	check("my lease, renewed", nil)
	taken := held
	taken.Holder, taken.Fence = "another", 8
	h.put(&taken)
	check("another's lease", store.ErrFenced)
	taken.Holder, taken.Fence = "me", 9
	h.put(&taken)
	check("a later lease of mine", store.ErrFenced)
	taken.Holder, taken.Fence = "another", 7
	h.put(&taken)
	check("another's lease with my number", store.ErrFenced)
}

func fencedWritesNothing(t *testing.T, h *handle) {
	held := store.Lease{ID: "planner", Holder: "me", Fence: 7}
	r := filled(&store.Instance{}, 1)
	err := h.Update(h.ctx, []store.Key{held.Key(), r.Key()}, func(tx store.Tx) error {
		return errors.Join(tx.Put(r), store.CheckFence(tx, held))
	})
	requireIs(t, "Update", err, store.ErrFenced)
	h.holds([]store.Key{r.Key(), held.Key()})
}

func viewReturnsError(t *testing.T, h *handle) {
	if err := h.View(h.ctx, func(store.View) error { return errOfCaller }); err != errOfCaller { //nolint:errorlint // as it is
		t.Fatalf("View returned %v, want the function's own error", err)
	}
}

func endedContext(t *testing.T, h *handle) {
	cancelled, cancel := context.WithCancel(h.ctx)
	cancel()
	late, cancelLate := context.WithDeadline(h.ctx, time.Unix(1, 0))
	defer cancelLate()
	r := filled(&store.Task{}, 1)
	for _, c := range []struct {
		ctx  context.Context
		want error
	}{{cancelled, context.Canceled}, {late, context.DeadlineExceeded}} {
		err := h.Update(c.ctx, []store.Key{r.Key()}, func(tx store.Tx) error { return tx.Put(r) })
		requireIs(t, "Update", err, c.want)
		err = h.View(c.ctx, func(store.View) error { t.Error("View ran its function"); return nil })
		requireIs(t, "View", err, c.want)
	}
	h.holds([]store.Key{r.Key()})
}

func contextEndsInUpdate(t *testing.T, h *handle) {
	for i := range 10 {
		ctx, cancel := context.WithCancel(h.ctx)
		a, b := filled(&store.Task{}, i), filled(&store.Lease{}, i)
		keys := []store.Key{a.Key(), b.Key()}
		err := h.Update(ctx, keys, func(tx store.Tx) error {
			if err := tx.Put(a); err != nil {
				return err
			}
			cancel()
			return tx.Put(b)
		})
		cancel()
		gotA, gotB := h.get(a.Key()), h.get(b.Key())
		all, none := gotA != nil && gotB != nil, gotA == nil && gotB == nil
		switch {
		case !all && !none:
			t.Fatal("half of an Update was committed")
		case err == nil && none:
			t.Fatal("Update succeeded and changed nothing")
		case err != nil && all && !errors.Is(err, store.ErrUnknownOutcome):
			t.Fatalf("Update failed and was committed: %v", err)
		}
	}
}

func closed(t *testing.T, h *handle) {
	if err := h.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	err := h.Update(h.ctx, nil, func(store.Tx) error { t.Error("Update ran its function"); return nil })
	requireIs(t, "Update", err, store.ErrClosed)
	err = h.View(h.ctx, func(store.View) error { t.Error("View ran its function"); return nil })
	requireIs(t, "View", err, store.ErrClosed)
	if err := h.Close(); err != nil {
		t.Errorf("a second Close: %v", err)
	}
}

func closedNotify(t *testing.T, h *handle) {
	before, stopBefore := h.Notify(store.PoolKey())
	if err := h.Close(); err != nil {
		t.Fatalf("Close: %v", err)
	}
	after, stopAfter := h.Notify(store.PoolKey())
	for _, wake := range []<-chan struct{}{before, after} {
		select {
		case _, ok := <-wake:
			if !ok {
				t.Error("the channel was closed")
			}
		default:
		}
	}
	stopBefore()
	stopAfter()
}
