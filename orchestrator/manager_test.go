package orchestrator

import (
	"context"
	"errors"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// stopping puts a container that a replica stops, and that some sessions hold, into a new store. Its instance is gone.
func stopping(t *testing.T, owner string, sessions int) store.Store {
	t.Helper()
	st := memstore.New()
	put(t, st, &store.Container{ID: "c-1", Name: "repo", Owner: owner, State: store.ContainerStopping, Sessions: sessions})
	return st
}

func put(t *testing.T, st store.Store, c *store.Container) {
	t.Helper()
	err := st.Update(t.Context(), []store.Key{c.Key()}, func(tx store.Tx) error { return tx.Put(c) })
	if err != nil {
		t.Fatal(err)
	}
}

// reluctant ends the session of a container only when it is asked for the third time.
type reluctant struct {
	t     *testing.T
	st    store.Store
	asked atomic.Int64
}

func (r *reluctant) EndSession(store.Container, string, error) {}

func (r *reluctant) EndSessions(c store.Container, cause error) {
	if cause != nil {
		r.t.Errorf("the cause is %v, of a container that is removed", cause)
	}
	if r.asked.Add(1) == 3 {
		c.Sessions = 0
		put(r.t, r.st, &c)
	}
}

// TestRunResumesARemoval checks that Run removes a container that no keeper attends to, and that sessions are ended again
// and again until none holds the container.
func TestRunResumesARemoval(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := stopping(t, "r-1", 1)
		sessions := &reluctant{t: t, st: st}
		var gone []string
		m := NewManager(Config{
			Replica: "r-1", Store: st, Sessions: sessions, OnGone: func(c store.Container) { gone = append(gone, c.ID) },
		})
		defer m.Close()
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		go m.Run(ctx)
		time.Sleep(resumeAfter - time.Millisecond)
		synctest.Wait()
		if sessions.asked.Load() != 0 {
			t.Error("a removal is resumed that has only just been stored")
		}
		time.Sleep(5 * time.Second)
		synctest.Wait()
		c, err := store.Read[*store.Container](ctx, st, store.ContainerKey("c-1"))
		if c != nil || err != nil || sessions.asked.Load() != 3 || len(gone) != 1 {
			t.Errorf("the record is %+v, %v; sessions were ended %d times; OnGone reported %v", c, err, sessions.asked.Load(), gone)
		}
	})
}

// TestStopEnds checks what ends the wait for a container that another replica removes.
func TestStopEnds(t *testing.T) {
	late := errors.New("too late")
	for name, c := range map[string]struct {
		end  func(m *Manager, cancel context.CancelCauseFunc)
		want error
	}{
		"with its context": {func(_ *Manager, cancel context.CancelCauseFunc) { cancel(late) }, late},
		"with the Manager": {func(m *Manager, _ context.CancelCauseFunc) { m.Close() }, agent.ErrClosed},
		"with the removal": {nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st := stopping(t, "r-2", 0)
				m := NewManager(Config{Replica: "r-1", Store: st})
				defer m.Close()
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				ended := make(chan error, 1)
				go func() { ended <- m.Stop(ctx, "c-1") }()
				time.Sleep(time.Minute)
				synctest.Wait()
				if len(ended) > 0 {
					t.Fatalf("it has returned %v before", <-ended)
				}
				if c.end != nil {
					c.end(m, cancel)
				} else if err := st.Update(ctx, nil, func(tx store.Tx) error { return tx.Delete(store.ContainerKey("c-1")) }); err != nil {
					t.Fatal(err)
				}
				synctest.Wait()
				select {
				case err := <-ended:
					if !errors.Is(err, c.want) {
						t.Errorf("it returned %v; want %v", err, c.want)
					}
				default:
					t.Error("it has not returned")
				}
			})
		})
	}
}

func TestFirstSeen(t *testing.T) {
	var f firstSeen[string]
	start := time.Now()
	for _, look := range []struct {
		at    time.Duration
		found []string
		ages  []time.Duration
	}{
		{0, []string{"a"}, []time.Duration{0}},
		{time.Second, []string{"b", "a"}, []time.Duration{0, time.Second}},
		{2 * time.Second, []string{"b"}, []time.Duration{time.Second}},
		{3 * time.Second, []string{"a", "b"}, []time.Duration{0, 2 * time.Second}}, // a was away
	} {
		now := start.Add(look.at)
		f = f.next(look.found, now)
		for i, k := range look.found {
			if got := f.age(k, now); got != look.ages[i] {
				t.Errorf("after %v the age of %s is %v; want %v", look.at, k, got, look.ages[i])
			}
		}
	}
}
