package lease_test

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/internal/lease"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

const term = 15 * time.Second

// holding records which Keepers work, and under which lease.
type holding struct {
	mu     sync.Mutex
	now    map[string]store.Lease
	most   int // at once
	terms  int // how often work began
	fences []uint64
}

func newHolding() *holding { return &holding{now: map[string]store.Lease{}} }

// work returns as soon as its context ends.
func (h *holding) work(ctx context.Context, held store.Lease) {
	h.mu.Lock()
	h.now[held.Holder] = held
	h.most = max(h.most, len(h.now))
	h.terms++
	h.fences = append(h.fences, held.Fence)
	h.mu.Unlock()
	<-ctx.Done()
	h.mu.Lock()
	delete(h.now, held.Holder)
	h.mu.Unlock()
}

// holder returns the only Keeper that works; "" = none or several do.
func (h *holding) holder() string {
	h.mu.Lock()
	defer h.mu.Unlock()
	if len(h.now) != 1 {
		return ""
	}
	for holder := range h.now {
		return holder
	}
	return ""
}

func (h *holding) lease() store.Lease {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, l := range h.now {
		return l
	}
	return store.Lease{}
}

func wantHolder(t *testing.T, h *holding, want string) {
	t.Helper()
	synctest.Wait()
	if got := h.holder(); got != want {
		t.Fatalf("after %v %q holds the lease, want %q", time.Since(epoch), got, want)
	}
}

// epoch is when every bubble begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

// keep runs a Keeper until the returned function is called, which waits for the Keeper's end.
func keep(t *testing.T, st store.Store, holder string, h *holding) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	k := &lease.Keeper{Store: st, ID: "planner", Holder: holder, Term: term}
	go func() {
		defer close(done)
		k.Run(ctx, h.work)
	}()
	return func() {
		cancel()
		<-done
	}
}

func TestReleaseGivesTheLeaseAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, h := memstore.New(), newHolding()
		stopA := keep(t, st, "a", h)
		wantHolder(t, h, "a")
		stopB := keep(t, st, "b", h)
		time.Sleep(10 * term)
		wantHolder(t, h, "a")
		stopA()
		wantHolder(t, h, "b")
		if passed := time.Since(epoch); passed != 10*term {
			t.Errorf("it took until %v", passed)
		}
		stopB()
	})
}

func TestTakeoverAfterAWholeTermWithoutABeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, h := memstore.New(), newHolding()
		dead := frozenStore{Store: st, frozen: make(chan struct{})}
		stopA := keep(t, dead, "a", h)
		wantHolder(t, h, "a")
		time.Sleep(term / 2) // it beats once
		close(dead.frozen)
		stopB := keep(t, st, "b", h)
		time.Sleep(term - 1)
		synctest.Wait()
		if h.holder() == "b" {
			t.Fatal("b took the lease before the term had passed")
		}
		time.Sleep(term/3 + 1)
		wantHolder(t, h, "b")
		if fence := h.lease().Fence; fence != 2 {
			t.Errorf("the second holder has the fence %d", fence)
		}
		stopB()
		stopA()
	})
}

// TestLeaseThatWasRemovedLooksOtherwise: a process that has watched the lease does not take its holder for dead, which has
// taken the lease again.
func TestLeaseThatWasRemovedLooksOtherwise(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, watch := memstore.New(), lease.Watch{}
		for range 2 {
			h := newHolding()
			stop := keep(t, st, "a", h)
			wantHolder(t, h, "a")
			held := h.lease()
			if watch.Dead(&held, time.Now()) {
				t.Error("the holder of a lease that was just taken is dead")
			}
			time.Sleep(term)
			stop()
			err := st.Update(t.Context(), nil, func(tx store.Tx) error { return tx.Delete(held.Key()) })
			if err != nil {
				t.Fatal(err)
			}
		}
	})
}

// TestHolderStopsBeforeItsTermEnds cuts a holder off from the store: its work ends before another process may begin.
func TestHolderStopsBeforeItsTermEnds(t *testing.T) {
	for name, cut := range map[string]func(store.Store) (store.Store, func()){
		"its calls hang": func(st store.Store) (store.Store, func()) {
			f := frozenStore{Store: st, frozen: make(chan struct{})}
			return f, func() { close(f.frozen) }
		},
		"its calls fail": func(st store.Store) (store.Store, func()) {
			f := &failingStore{Store: st}
			return f, func() { f.fail(errors.New("no route to the store")) }
		},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				st, h := memstore.New(), newHolding()
				bad, cutOff := cut(st)
				stopA := keep(t, bad, "a", h)
				wantHolder(t, h, "a")
				stopB := keep(t, st, "b", h)
				time.Sleep(term + time.Second) // it has just renewed it
				cutOff()
				time.Sleep(term*2/3 - time.Second)
				wantHolder(t, h, "") // there is time left for work that does not return at once
				time.Sleep(2 * term)
				wantHolder(t, h, "b")
				if h.most != 1 {
					t.Errorf("%d worked at once", h.most)
				}
				stopB()
				stopA()
			})
		})
	}
}

// TestTermBeginsWithTheCall delays replies: other processes count the term from the commit, which may have been long before.
func TestTermBeginsWithTheCall(t *testing.T) {
	for name, beats := range map[string]time.Duration{"that takes the lease": 0, "that renews it": 1} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				h := newHolding()
				cut := frozenStore{Store: memstore.New(), frozen: make(chan struct{})}
				stop := keep(t, lateStore{cut}, "a", h)
				time.Sleep(beats*term/3 + term/4 + 1) // the reply is there
				wantHolder(t, h, "a")
				close(cut.frozen)
				time.Sleep(beats*term/3 + term*2/3 - time.Since(epoch))
				wantHolder(t, h, "")
				stop()
			})
		})
	}
}

func TestWorkThatReturnsReleases(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := memstore.New()
		for i, holder := range []string{"a", "b"} {
			k := &lease.Keeper{Store: st, ID: "once", Holder: holder, Term: term}
			ran := false
			k.Run(t.Context(), func(_ context.Context, held store.Lease) {
				ran = held.Fence == uint64(2*i+1)
			})
			if !ran || time.Since(epoch) != 0 {
				t.Fatalf("%s worked: %v, after %v", holder, ran, time.Since(epoch))
			}
		}
	})
}

func TestWorkEndsBeforeTheRelease(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, h := memstore.New(), newHolding()
		ctx, cancel := context.WithCancel(t.Context())
		k := &lease.Keeper{Store: st, ID: "planner", Holder: "a", Term: term}
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.Run(ctx, func(ctx context.Context, _ store.Lease) {
				<-ctx.Done()
				time.Sleep(term / 4) // it tidies up
				if !errors.Is(context.Cause(ctx), context.Canceled) {
					t.Errorf("the cause is %v", context.Cause(ctx))
				}
			})
		}()
		synctest.Wait()
		stopB := keep(t, st, "b", h)
		cancel()
		time.Sleep(term/4 - 1)
		wantHolder(t, h, "")
		time.Sleep(time.Nanosecond)
		wantHolder(t, h, "b")
		<-done
		stopB()
	})
}

func TestTakingWithALostReply(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st, h := memstore.New(), newHolding()
		f := &failingStore{Store: st}
		f.loseReply()
		stop := keep(t, f, "a", h)
		time.Sleep(term / 2)
		wantHolder(t, h, "a") // and not after a whole term: what it holds is its own
		if fence := h.lease().Fence; fence != 2 {
			t.Errorf("the fence is %d", fence)
		}
		stop()
	})
}

// stuckStore may take any time for an Update whose commit is under way, like a database that does not answer.
type stuckStore struct {
	store.Store
	stuck chan struct{}
}

func (s stuckStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	select {
	case <-s.stuck:
		time.Sleep(3 * term)
		return store.ErrUnknownOutcome
	default:
		return s.Store.Update(ctx, keys, fn)
	}
}

// TestHolderGivesUpInTimeWhileItsBeatIsStuck: other processes take the lease over when its term has passed, also while the
// Update of the beat still waits.
func TestHolderGivesUpInTimeWhileItsBeatIsStuck(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		st := stuckStore{memstore.New(), make(chan struct{})}
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		k := &lease.Keeper{Store: st, ID: "planner", Holder: "a", Term: term}
		var worked time.Duration
		done := make(chan struct{})
		go func() {
			defer close(done)
			k.Run(ctx, func(ctx context.Context, _ store.Lease) {
				begun := time.Now()
				close(st.stuck)
				<-ctx.Done()
				worked = time.Since(begun)
				cancel()
			})
		}()
		<-done
		if worked > term*2/3 {
			t.Errorf("work went on for %v of a term of %v", worked, term)
		}
	})
}
