package pool_test

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

const slots = 10

// rig is a pool over a fake cloud in virtual time, with everything that a Manager needs.
type rig struct {
	t     *testing.T
	cloud *fake.Cloud
	store *lossyStore
	cfg   pool.Config

	stops []func()
	fence uint64
	going sync.WaitGroup // what ends the sessions of lost instances

	mu         sync.Mutex
	waiting    int                 // sessions that wait for a slot
	sick       map[string]error    // what the engine of a launch answers; errHangs: nothing
	changes    []string            // states that instances entered, in order
	byInstance map[string][]string // the same by instance, as "cordoned/interrupted" with an outlook
	reasons    []string            // with which they were lost or retired
	placed     map[string][]int    // uids of sessions, by instance
	logged     strings.Builder     // what was logged
	probes     map[string]struct{} // launches that were probed
}

var errHangs = errors.New("the engine hangs")

// inBubble runs a test of a pool in virtual time. At its end nothing may still run.
func inBubble(t *testing.T, opts fake.CloudOptions, change func(*pool.Config), test func(t *testing.T, r *rig)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		time.Sleep(7 * time.Nanosecond) // so that no time is one that a store keeps as it is
		r := newRig(t, opts, change)
		defer r.stop()
		test(t, r)
		r.stop()
		if most := r.cloud.MaxAlive(); most > r.cfg.MaxInstances {
			t.Errorf("%d machines cost money at once, of at most %d", most, r.cfg.MaxInstances)
		}
	})
}

func newRig(t *testing.T, opts fake.CloudOptions, change func(*pool.Config)) *rig {
	t.Helper()
	r := &rig{
		t: t, cloud: fake.NewCloud(opts), store: &lossyStore{Store: memstore.New()},
		sick: map[string]error{}, placed: map[string][]int{}, probes: map[string]struct{}{},
		byInstance: map[string][]string{},
	}
	r.cfg = pool.Config{
		Name: "p", InstanceType: "t", MaxInstances: 1, SlotsPerInstance: slots,
		Cloud: r.cloud, Store: r.store, Probe: r.probe, OnChange: r.onChange,
		Demand: func(context.Context) (int, error) { return r.demand(), nil },
		Logger: slog.New(slog.NewTextHandler(lockedWriter{r}, nil)),
	}
	if change != nil {
		change(&r.cfg)
	}
	r.put(&store.Pool{UID: "uid-1"})
	return r
}

type lockedWriter struct{ *rig }

func (w lockedWriter) Write(p []byte) (int, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.logged.Write(p)
}

// log returns the end of the log.
func (r *rig) log() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	lines := strings.SplitAfter(r.logged.String(), "\n")
	return strings.Join(lines[max(len(lines)-20, 0):], "")
}

// logs returns the whole log.
func (r *rig) logs() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.logged.String()
}

// start runs a Manager under a new lease, as a process does that takes the lease over.
func (r *rig) start() *pool.Manager {
	r.fence++
	held := store.Lease{ID: "planner", Holder: fmt.Sprint("replica-", r.fence), Fence: r.fence}
	r.put(&held)
	m := pool.NewManager(r.cfg)
	ctx, cancel := context.WithCancel(r.t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		m.Run(ctx, held)
	}()
	r.stops = append(r.stops, func() {
		cancel()
		<-done
	})
	return m
}

// stop stops every Manager.
func (r *rig) stop() {
	for _, stop := range r.stops {
		stop()
	}
	r.stops = nil
	r.going.Wait()
}

func (r *rig) put(record store.Record) {
	r.t.Helper()
	r.update(func(tx store.Tx) error { return tx.Put(record) })
}

// update changes the store from outside, without the faults that Managers meet.
func (r *rig) update(fn func(tx store.Tx) error) {
	r.t.Helper()
	if err := r.store.Store.Update(context.Background(), nil, fn); err != nil {
		r.t.Fatal(err)
	}
}

func (r *rig) pool() (p *store.Pool) {
	r.t.Helper()
	r.update(func(tx store.Tx) (err error) {
		p, err = store.Get[*store.Pool](tx, store.PoolKey())
		return err
	})
	return p
}

// instances returns the records, the oldest first, and checks the pool's count of them.
func (r *rig) instances() (all []*store.Instance) {
	r.t.Helper()
	count := 0
	err := r.store.Store.View(context.Background(), func(v store.View) (err error) {
		if p, err := store.Get[*store.Pool](v, store.PoolKey()); err == nil {
			count = p.Instances
		}
		all, err = v.Instances(store.InstanceQuery{Page: store.Page{Limit: store.MaxLimit}})
		return err
	})
	if err != nil {
		r.t.Fatal(err)
	}
	if count != len(all) {
		r.t.Errorf("the pool counts %d instances, and there are %d", count, len(all))
	}
	slices.SortFunc(all, func(a, b *store.Instance) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	return all
}

// one returns the only instance.
func (r *rig) one() *store.Instance {
	r.t.Helper()
	all := r.instances()
	if len(all) != 1 {
		r.t.Fatalf("after %v there are the instances %s", r.passed(), r.states())
	}
	return all[0]
}

// states returns the states of all instances, sorted, in one line.
func (r *rig) states() string {
	var states []string
	for _, in := range r.instances() {
		states = append(states, string(in.State))
	}
	slices.Sort(states)
	return strings.Join(states, " ")
}

// epoch is when every bubble begins.
var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (r *rig) passed() time.Duration { return time.Since(epoch) }

func (r *rig) want(states string) {
	r.t.Helper()
	synctest.Wait()
	if got := r.states(); got != states {
		r.t.Fatalf("after %v the instances are %q, want %q\n%s", r.passed(), got, states, r.log())
	}
}

// within waits until a condition holds, and returns how long that took.
func (r *rig) within(limit time.Duration, what string, is func() bool) time.Duration {
	r.t.Helper()
	begun := time.Now()
	for {
		synctest.Wait()
		if is() {
			return time.Since(begun)
		}
		if time.Since(begun) >= limit {
			r.t.Fatalf("after %v (%v in all) it is not so that %s; the instances are %q\n%s", limit, r.passed(), what, r.states(), r.log())
		}
		time.Sleep(100 * time.Millisecond)
	}
}

func (r *rig) withinStates(limit time.Duration, states string) time.Duration {
	r.t.Helper()
	return r.within(limit, "they are "+states, func() bool { return r.states() == states })
}
