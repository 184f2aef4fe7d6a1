package sim

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/store/memstore"
	"github.com/berth-go/berth/store/storetest"
)

// world is one run: the pool, its replicas and their faults. All of it lives in one bubble.
type world struct {
	t       *testing.T
	plan    plan
	meddler *meddler
	store   *memstore.Store // the store itself, without faults
	kept    *fake.Snapshots
	cloud   *fake.Cloud
	engine  *fake.Engine
	rules   *rules
	trace   *trace
	ctx     context.Context
	actors  sync.WaitGroup
	closing sync.WaitGroup // replicas that crashed or are being closed

	revivals sync.WaitGroup // the starts of replicas in place of crashed ones

	mu       sync.Mutex // protects the fields below
	replicas []*replica // the replicas that serve, by slot; nil = none serves in the slot
	made     int
	over     bool                     // no more replicas start
	cut      map[string]time.Time     // until when a replica cannot reach the store
	asleep   map[string]time.Time     // until when a replica is paused
	clock    map[string]time.Duration // by how much the clock of a replica was set
	revoked  []*revocation
}

// replica is one Provider.
type replica struct {
	name string
	*berth.Provider
}

func newWorld(t *testing.T, p plan) *world {
	w := &world{t: t, plan: p, store: memstore.New(), trace: newTrace(), ctx: context.Background()}
	w.cut, w.asleep, w.clock = make(map[string]time.Time), make(map[string]time.Time), make(map[string]time.Duration)
	w.meddler = newMeddler(p, w.trace.saw, w.crash)
	w.cloud = fake.NewCloud(fake.CloudOptions{Fault: w.meddler.fault, Linger: time.Hour})
	repositories := make(map[string]fake.Repo)
	for i := range p.repos {
		repositories[p.spelling(i, "repository")] = p.repository(i)
	}
	w.engine = fake.NewEngine(fake.EngineOptions{
		Repositories: repositories,
		Cloud:        w.cloud, Fault: w.meddler.fault, Run: w.run,
		Latency: fake.Latency{ // long enough for other calls in between
			Call: 5 * time.Millisecond, Start: time.Second, Remove: time.Second, Clone: 3 * time.Second,
			Fetch: time.Second, Open: time.Second, Close: 500 * time.Millisecond, Exec: 10 * time.Millisecond,
		},
	})
	w.kept = fake.NewSnapshots(fake.SnapshotOptions{})
	w.rules = newRules(w)
	w.meddler.called, w.meddler.acted, w.meddler.callsRest = w.rules.calls.call, w.rules.acted, w.callsRest
	w.replicas = make([]*replica, p.replicas)
	for i := range w.replicas {
		w.start(i)
	}
	return w
}

// start puts a new replica into a slot.
func (w *world) start(slot int) {
	for {
		w.mu.Lock()
		w.made++
		name := fmt.Sprintf("r%d-%d", slot, w.made)
		w.mu.Unlock()
		cfg := w.plan.config
		cfg.Cloud, cfg.Engine = w.cloud.As(name), w.engine.As(name)
		cfg.Store = &faultyStore{Store: w.store, world: w, replica: name}
		if w.plan.armed[clocks] {
			cfg.Store = storetest.Skew(cfg.Store, func() time.Duration { return w.clockOf(name) })
		}
		if w.plan.keeps {
			cfg.Snapshots = keptStore{w.kept, w, name}
		}
		cfg.OnEvent = w.trace.event
		host{w, name}.install(&cfg)
		cfg.Logger = slog.New(slog.NewTextHandler(&w.trace.log, nil)).With("replica", name)
		p, err := berth.New(w.ctx, cfg)
		if err == nil {
			w.mu.Lock()
			w.replicas[slot] = &replica{name, p}
			w.mu.Unlock()
			w.trace.add("%s begins", name)
			return
		}
		time.Sleep(time.Second) // the store failed, or the replica crashed
	}
}

// crash ends a replica like the death of its process, and starts another in its slot after a while.
func (w *world) crash(name string) {
	w.meddler.kill(name)
	w.mu.Lock()
	slot := slices.IndexFunc(w.replicas, func(r *replica) bool { return r != nil && r.name == name })
	w.mu.Unlock()
	if slot < 0 { // it is just starting, or being closed
		return
	}
	w.stop(slot, true)
	w.mu.Lock()
	defer w.mu.Unlock()
	if !w.over {
		w.revivals.Go(func() {
			time.Sleep(w.plan.dice.upTo(40*time.Second, "revival", name))
			w.start(slot)
		})
	}
}

// fill puts a replica into each slot that has none.
func (w *world) fill() {
	for slot := range w.replicas {
		w.mu.Lock()
		empty := w.replicas[slot] == nil
		w.mu.Unlock()
		if empty {
			w.start(slot)
		}
	}
}

// stop takes a replica from its slot, and closes or crashes it.
func (w *world) stop(slot int, crashes bool) {
	w.mu.Lock()
	r := w.replicas[slot]
	w.replicas[slot] = nil
	w.mu.Unlock()
	if r == nil {
		return
	}
	w.trace.add("%s ends, crash: %v", r.name, crashes)
	if crashes {
		w.meddler.kill(r.name)
	}
	w.closing.Go(func() { r.Close() })
}

// some returns a replica that serves, and waits if there is none.
func (w *world) some(purpose ...string) *replica {
	for {
		w.mu.Lock()
		var all []*replica
		for _, r := range w.replicas {
			if r != nil {
				all = append(all, r)
			}
		}
		w.mu.Unlock()
		if len(all) > 0 {
			return all[w.plan.dice.between(0, len(all)-1, purpose...)]
		}
		time.Sleep(time.Second)
	}
}

// cutUntil returns the time until which a replica cannot reach the store.
func (w *world) cutUntil(name string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut[name]
}

// clockOf returns by how much a replica's wall clock is ahead. It is within 5 min of the true time, unless a fault has
// set it.
func (w *world) clockOf(name string) time.Duration {
	if !w.plan.armed[clocks] {
		return 0
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.plan.dice.upTo(10*time.Minute, "clock", name) - 5*time.Minute + w.clock[name]
}

// committed is called after each commit.
func (w *world) committed(tx *fencedTx) {
	for _, fault := range w.rules.fences.committed(tx) {
		w.rules.broken("%s", fault)
	}
	w.rules.check()
}

// serves reports whether a replica has neither crashed nor been closed.
func (w *world) serves(r *replica) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, other := range w.replicas {
		if other == r {
			return true
		}
	}
	return false
}

func (w *world) snapshot() *audit.Snapshot {
	s, err := audit.Take(context.Background(), w.store)
	if err != nil {
		panic(err)
	}
	return s
}
