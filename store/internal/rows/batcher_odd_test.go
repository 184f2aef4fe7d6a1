package rows

import (
	"context"
	"errors"
	"runtime"
	"strings"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/berth-go/berth/store"
)

func TestFunctionsThatDoNotReturn(t *testing.T) {
	withMemory(t, 1, func(t *testing.T, m *memory, b *Batcher) {
		left := make(chan struct{})
		errs := held(t, m, b, 4, func(i int, tx store.Tx) error {
			if err := addOne(tx, "a"); err != nil {
				return err
			}
			if i == 1 {
				panic(errSure)
			}
			return nil
		}, func() {
			go func() { // leaves Update by Goexit, as it would if its function ran here
				defer close(left)
				_ = b.Update(t.Context(), nil, func(tx store.Tx) error {
					_ = addOne(tx, "b")
					runtime.Goexit()
					return nil
				})
				t.Error("Update returned though its function did not")
			}()
			synctest.Wait()
		})
		<-left
		if errs[1] == nil || errs[0] != nil || errs[2] != nil || errs[3] != nil {
			t.Errorf("errors %v, want one panic", errs)
		}
		if a, bb := m.sessions(t, "a"), m.sessions(t, "b"); a != 3 || bb != 0 {
			t.Errorf("a is %d, b is %d; want 3 and 0", a, bb)
		}
	})
}

// TestSwallowedStop runs functions that make something of their own of the error or panic by which they are stopped.
func TestSwallowedStop(t *testing.T) {
	withMemory(t, 1, func(t *testing.T, m *memory, b *Batcher) {
		runs := 0
		err := b.Update(t.Context(), nil, func(tx store.Tx) (err error) {
			runs++
			defer func() {
				if recover() != nil {
					err = nil
				}
			}()
			return errors.Join(addOne(tx, "a"), addOne(tx, "b"), addOne(tx, "c"))
		})
		if err != nil {
			t.Fatal(err)
		}
		for _, id := range []string{"a", "b", "c"} {
			if n := m.sessions(t, id); n != 1 {
				t.Errorf("%s is %d after %d runs, want 1", id, n, runs)
			}
		}
	})
}

func TestContextEndsWhileWaiting(t *testing.T) {
	withMemory(t, 1, func(t *testing.T, m *memory, b *Batcher) {
		hold := make(chan struct{})
		m.hold = hold
		ctx, cancel := context.WithCancel(t.Context())
		first, second := make(chan error, 1), make(chan error, 1)
		go func() { first <- b.Update(ctx, nil, func(tx store.Tx) error { return addOne(tx, "a") }) }()
		synctest.Wait()
		go func() { second <- b.Update(ctx, nil, func(tx store.Tx) error { return addOne(tx, "b") }) }()
		synctest.Wait()
		cancel()
		if err := <-second; !errors.Is(err, context.Canceled) {
			t.Errorf("the Update that waited: %v", err)
		}
		synctest.Wait()
		select {
		case err := <-first:
			t.Errorf("the Update whose commit was sent did not wait for its outcome: %v", err)
		default:
		}
		close(hold)
		if err := <-first; err != nil {
			t.Errorf("the Update whose commit was sent: %v", err)
		}
		if a, bb := m.sessions(t, "a"), m.sessions(t, "b"); a != 1 || bb != 0 {
			t.Errorf("a is %d, b is %d; want 1 and 0", a, bb)
		}
	})
}

func TestCloseAnswersEverybody(t *testing.T) {
	withMemory(t, 1, func(t *testing.T, m *memory, b *Batcher) {
		hold := make(chan struct{})
		m.hold = hold
		errs := make([]error, 3)
		var all sync.WaitGroup
		for i := range errs {
			all.Go(func() { errs[i] = b.Update(t.Context(), nil, func(tx store.Tx) error { return addOne(tx, "a") }) })
			synctest.Wait()
		}
		all.Go(b.Close)
		synctest.Wait()
		close(hold)
		all.Wait()
		if errs[0] != nil || !errors.Is(errs[1], store.ErrClosed) || !errors.Is(errs[2], store.ErrClosed) {
			t.Errorf("errors %v; want none of the one that ran, and ErrClosed of the others", errs)
		}
		if n := m.sessions(t, "a"); n != 1 {
			t.Errorf("a is %d, want 1", n)
		}
	})
}

// TestManyWorkers counts with Updates whose keys are hinted in part, through transactions that fail now and then.
func TestManyWorkers(t *testing.T) {
	withMemory(t, 4, func(t *testing.T, m *memory, b *Batcher) {
		for range 30 {
			m.begins = append(m.begins, nil, nil, Again(errBreak))
			m.commits = append(m.commits, nil, Again(errBreak), nil)
		}
		var all sync.WaitGroup
		for w := range 8 {
			for i := range 20 {
				all.Go(func() {
					keys := []store.Key{store.UserKey("a"), store.UserKey("b")}[:(w+i)%3]
					err := b.Update(t.Context(), keys, func(tx store.Tx) error {
						return errors.Join(addOne(tx, "a"), addOne(tx, "b"))
					})
					if err != nil {
						t.Errorf("Update: %v", err)
					}
				})
			}
		}
		all.Wait()
		if a, bb := m.sessions(t, "a"), m.sessions(t, "b"); a != 160 || bb != 160 {
			t.Errorf("a is %d and b is %d, want 160", a, bb)
		}
	})
}

// TestKeysThatCannotBe: such keys are refused, and the other Updates of the batch succeed.
func TestKeysThatCannotBe(t *testing.T) {
	withMemory(t, 1, func(t *testing.T, m *memory, b *Batcher) {
		for _, id := range []string{"x\x00", "\xff", strings.Repeat("s", mostID+1)} {
			if err := b.Update(t.Context(), []store.Key{store.TaskKey(id)}, func(store.Tx) error { return nil }); err == nil {
				t.Errorf("an Update that names %.20q succeeds", id)
			}
			err := b.Update(t.Context(), nil, func(tx store.Tx) error {
				if _, err := tx.Get(store.TaskKey(id)); !errors.Is(err, store.ErrNotFound) {
					t.Errorf("Get(%.20q): %v", id, err)
				}
				if err := tx.Put(&store.Task{ID: id}); err == nil {
					t.Errorf("Put(%.20q) succeeds", id)
				}
				return addOne(tx, "good")
			})
			if err != nil {
				t.Error(err)
			}
		}
		if n := m.sessions(t, "good"); n != 3 {
			t.Errorf("%d of 3 Updates are there", n)
		}
	})
}
