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
	"github.com/berth-go/berth/internal/audit"
	"github.com/berth-go/berth/store/memstore"
)

// world is one run: the pool, its replicas, and what befalls them. All of it lives in one bubble.
type world struct {
	t       *testing.T
	plan    plan
	meddler *meddler
	store   *memstore.Store // as it is, without faults
	cloud   *fake.Cloud
	engine  *fake.Engine
	rules   *rules
	trace   *trace
	ctx     context.Context
	actors  sync.WaitGroup
	closing sync.WaitGroup // replicas that crashed or are being closed

	revivals sync.WaitGroup // replicas that come after one that crashed

	mu       sync.Mutex // protects what follows
	replicas []*replica // those that serve, by slot; nil where none does
	made     int
	over     bool                 // no replica comes any more
	cut      map[string]time.Time // replicas that cannot reach the store until then
	asleep   map[string]time.Time // replicas that are paused until then
}

// replica is one Provider.
type replica struct {
	name string
	*berth.Provider
}

func newWorld(t *testing.T, p plan) *world {
	w := &world{t: t, plan: p, store: memstore.New(), trace: newTrace(), ctx: context.Background()}
	w.cut, w.asleep = make(map[string]time.Time), make(map[string]time.Time)
	w.meddler = newMeddler(p, w.trace.saw, w.crash)
	w.cloud = fake.NewCloud(fake.CloudOptions{Fault: w.meddler.fault})
	w.engine = fake.NewEngine(fake.EngineOptions{
		Cloud: w.cloud, Fault: w.meddler.fault, Run: work,
		Latency: fake.Latency{ // long enough for others to come between
			Call: 5 * time.Millisecond, Start: time.Second, Remove: time.Second, Clone: 3 * time.Second,
			Fetch: time.Second, Open: time.Second, Close: 500 * time.Millisecond, Exec: 10 * time.Millisecond,
		},
	})
	w.rules = newRules(w)
	w.meddler.called, w.meddler.acted, w.meddler.callsRest = w.rules.calls.call, w.rules.acted, w.callsRest
	w.replicas = make([]*replica, p.replicas)
	for i := range w.replicas {
		w.start(i)
	}
	return w
}

// work is what commands do: their first argument says how long.
func work(ctx context.Context, c fake.Command) int {
	d, err := time.ParseDuration(c.Args[1])
	if err != nil {
		return 2
	}
	pause(ctx, d)
	return 0
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
		cfg.OnEvent = w.trace.event
		cfg.Logger = slog.New(slog.NewTextHandler(&w.trace.log, nil)).With("replica", name)
		p, err := berth.New(w.ctx, cfg)
		if err == nil {
			w.mu.Lock()
			w.replicas[slot] = &replica{name, p}
			w.mu.Unlock()
			w.trace.add("%s begins", name)
			return
		}
		time.Sleep(time.Second) // the store failed, or it crashed
	}
}

// crash ends a replica as the death of its process does, and starts another in its slot after a while.
func (w *world) crash(name string) {
	w.meddler.kill(name)
	w.mu.Lock()
	slot := slices.IndexFunc(w.replicas, func(r *replica) bool { return r != nil && r.name == name })
	w.mu.Unlock()
	if slot < 0 { // it is only just beginning, or being closed
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

// stop takes a replica from its slot: it is closed, or it crashes.
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

// some returns a replica that serves; it waits for one if there is none.
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

// cutUntil says until when a replica cannot reach the store.
func (w *world) cutUntil(name string) time.Time {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.cut[name]
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
