package rows

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"sync"
	"testing"
	"testing/synctest"

	"github.com/berth-go/berth/store"
)

// memory is a Backend over a map. One transaction runs at a time.
type memory struct {
	running sync.Mutex
	strict  bool // Fetch says ErrBeyond

	mu       sync.Mutex
	bodies   map[store.Key]string // guarded by mu
	begins   []error              // what the next ones return; guarded by mu
	commits  []error              // guarded by mu; lost: it is applied as well
	sizes    []int                // how many puts each commit had; guarded by mu
	hold     chan struct{}        // commits wait until it is closed; guarded by mu
	unsorted bool                 // a Begin or Commit came in another order than that of the keys
}

var (
	errSure  = errors.New("the disk is full")
	errBreak = errors.New("the connection was lost")
	errLost  = fmt.Errorf("%w: the answer was lost", store.ErrUnknownOutcome)
)

func next(errs *[]error) (err error) {
	if len(*errs) > 0 {
		err, *errs = (*errs)[0], (*errs)[1:]
	}
	return err
}

func (m *memory) Begin(_ context.Context, keys []store.Key, got func(store.Key, []byte)) (Txn, error) {
	m.running.Lock()
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := next(&m.begins); err != nil {
		m.running.Unlock()
		return nil, err
	}
	m.unsorted = m.unsorted || !slices.IsSortedFunc(keys, store.Key.Compare) || len(slices.Compact(slices.Clone(keys))) != len(keys)
	for _, key := range keys {
		if body, ok := m.bodies[key]; ok {
			got(key, []byte(body))
		}
	}
	return memoryTxn{m}, nil
}

type memoryTxn struct{ m *memory }

func (t memoryTxn) Fetch(key store.Key) ([]byte, error) {
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	if t.m.strict {
		return nil, ErrBeyond
	}
	if body, ok := t.m.bodies[key]; ok {
		return []byte(body), nil
	}
	return nil, nil
}

func (t memoryTxn) Rollback() { t.m.running.Unlock() }

func (t memoryTxn) Commit(puts []Row, deletes []store.Key) error {
	defer t.m.running.Unlock()
	t.m.mu.Lock()
	hold := t.m.hold
	t.m.mu.Unlock()
	if hold != nil {
		<-hold
	}
	t.m.mu.Lock()
	defer t.m.mu.Unlock()
	err := next(&t.m.commits)
	if err != nil && !errors.Is(err, store.ErrUnknownOutcome) {
		return err
	}
	for _, row := range puts {
		_, there := t.m.bodies[row.Key]
		if there != (row.Was != nil) {
			return fmt.Errorf("%s is there: %v, but the batch thinks otherwise", row.Key, there)
		}
		t.m.bodies[row.Key] = string(row.Body)
	}
	for _, key := range deletes {
		delete(t.m.bodies, key)
	}
	t.m.sizes = append(t.m.sizes, len(puts))
	return err
}

func (m *memory) snapshot() map[store.Key]string {
	m.mu.Lock()
	defer m.mu.Unlock()
	return maps.Clone(m.bodies)
}

func withMemory(t *testing.T, workers int, test func(t *testing.T, m *memory, b *Batcher)) {
	for _, strict := range []bool{false, true} {
		t.Run(fmt.Sprintf("strict=%v", strict), func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &memory{bodies: map[store.Key]string{}, strict: strict}
				b := NewBatcher(m, workers, func([]store.Key) {})
				defer b.Close()
				test(t, m, b)
				if m.unsorted {
					t.Error("keys were not in order")
				}
			})
		})
	}
}

func addOne(tx store.Tx, id string) error {
	u, err := store.Find[*store.User](tx, store.UserKey(id))
	if err != nil {
		return err
	}
	if u == nil {
		u = &store.User{ID: id}
	}
	u.Sessions++
	return tx.Put(u)
}

func (m *memory) sessions(t *testing.T, id string) int {
	t.Helper()
	body, ok := m.snapshot()[store.UserKey(id)]
	if !ok {
		return 0
	}
	r, _, err := Decode(store.UserKey(id), []byte(body))
	if err != nil {
		t.Fatal(err)
	}
	return r.(*store.User).Sessions
}

// TestWaitingUpdatesShareACommit holds the first commit, and sees all that come meanwhile in the second.
func TestWaitingUpdatesShareACommit(t *testing.T) {
	withMemory(t, 1, func(t *testing.T, m *memory, b *Batcher) {
		hold := make(chan struct{})
		m.hold = hold
		var all sync.WaitGroup
		call := func(id string) {
			all.Go(func() {
				err := b.Update(t.Context(), []store.Key{store.UserKey(id)}, func(tx store.Tx) error { return addOne(tx, id) })
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			})
		}
		call("first")
		synctest.Wait()
		for i := range 20 {
			call(fmt.Sprint(i % 10))
		}
		synctest.Wait()
		close(hold)
		all.Wait()
		if want := []int{1, 10}; !slices.Equal(m.sizes, want) {
			t.Errorf("commits of %v records, want %v", m.sizes, want)
		}
		for i := range 10 {
			if n := m.sessions(t, fmt.Sprint(i)); n != 2 {
				t.Errorf("user %d counts %d, want 2", i, n)
			}
		}
	})
}

// held begins n Updates so that they share one commit, and returns their results.
func held(t *testing.T, m *memory, b *Batcher, n int, fn func(i int, tx store.Tx) error, fail func()) []error {
	hold := make(chan struct{})
	m.hold = hold
	errs := make([]error, n)
	var all sync.WaitGroup
	all.Go(func() {
		if err := b.Update(t.Context(), nil, func(tx store.Tx) error { return addOne(tx, "holds") }); err != nil {
			t.Errorf("the first Update: %v", err)
		}
	})
	synctest.Wait()
	for i := range n {
		all.Go(func() {
			defer func() {
				if p := recover(); p != nil {
					errs[i] = fmt.Errorf("panic: %v", p)
				}
			}()
			keys := []store.Key{store.UserKey("a"), store.UserKey("b"), store.UserKey("c")}
			errs[i] = b.Update(t.Context(), keys, func(tx store.Tx) error { return fn(i, tx) })
		})
		synctest.Wait()
	}
	fail()
	close(hold)
	all.Wait()
	return errs
}

func TestCommitFails(t *testing.T) {
	errOwn := errors.New("own")
	// The first writes, the second fails for its own reason, the third only looks, the fourth writes.
	fn := func(i int, tx store.Tx) error {
		switch i {
		case 1:
			_ = addOne(tx, "b")
			return errOwn
		case 2:
			u, err := store.Find[*store.User](tx, store.UserKey("a"))
			if err == nil && u != nil && u.Sessions != 1 {
				err = fmt.Errorf("%d sessions", u.Sessions)
			}
			return err
		case 3:
			return addOne(tx, "c")
		}
		return addOne(tx, "a")
	}
	for _, c := range []struct {
		name    string
		commits []error
		want    [4]error
		a, c    int
	}{
		{"not at all", nil, [4]error{1: errOwn}, 1, 1},
		{"for sure, once: each is tried alone", []error{nil, errSure}, [4]error{1: errOwn}, 1, 1},
		{"for sure, and again for the first", []error{nil, errSure, errSure}, [4]error{0: errSure, 1: errOwn}, 0, 1},
		{"in a way that passes", []error{nil, Again(errBreak), Again(errBreak)}, [4]error{1: errOwn}, 1, 1},
		{"and nobody knows", []error{nil, errLost}, [4]error{0: store.ErrUnknownOutcome, 1: errOwn, 3: store.ErrUnknownOutcome}, 1, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			withMemory(t, 1, func(t *testing.T, m *memory, b *Batcher) {
				errs := held(t, m, b, 4, fn, func() { m.commits = c.commits })
				for i, err := range errs {
					if !errors.Is(err, c.want[i]) || (c.want[i] == nil) != (err == nil) {
						t.Errorf("Update %d: error %v, want %v", i, err, c.want[i])
					}
				}
				if a, cc := m.sessions(t, "a"), m.sessions(t, "c"); a != c.a || cc != c.c || m.sessions(t, "b") != 0 {
					t.Errorf("a is %d, b is %d, c is %d; want %d, 0, %d", a, m.sessions(t, "b"), cc, c.a, c.c)
				}
			})
		})
	}
}

func TestBeginFails(t *testing.T) {
	for _, c := range []struct {
		name   string
		begins []error
		want   error
	}{
		{"for sure", []error{errSure}, errSure},
		{"in a way that passes", []error{Again(errBreak), Again(errBreak)}, nil},
		{"again and again", slices.Repeat([]error{Again(errBreak)}, mostTries), errBreak},
	} {
		t.Run(c.name, func(t *testing.T) {
			withMemory(t, 1, func(t *testing.T, m *memory, b *Batcher) {
				m.begins = c.begins
				err := b.Update(t.Context(), nil, func(tx store.Tx) error { return addOne(tx, "a") })
				if !errors.Is(err, c.want) || (c.want == nil) != (err == nil) {
					t.Errorf("Update: %v, want %v", err, c.want)
				}
				if n := m.sessions(t, "a"); (n == 1) != (c.want == nil) {
					t.Errorf("a is %d", n)
				}
			})
		})
	}
}
