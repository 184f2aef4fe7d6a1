package pool

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// A Manager keeps the number and the health of a pool's instances. It works only while Run does, and only one
// Manager of a pool should: Run is called under a lease.
type Manager struct {
	cfg  Config
	wake loop.Signal // look now

	launches, launchFailures, lost, interruptions, unknownEnded, foreignEnded, probeFailures, throttles atomic.Int64

	mu       sync.Mutex           // protects what follows; never held across a call
	findings                      // of the Run
	doubts   map[string]time.Time // when this process first read of each of the pool's doubts, by launch ID
	failures *loop.Failures       // of the last Run
	earlier  int64                // how many failures there were in the Runs before it
}

// findings are what one Run has found out.
type findings struct {
	observations map[string]*observation // of instances, by launch ID
	unknown      map[string]*observation // of machines that no record knows, by cloud ID
	foreign      foreign
	machines     []Machine // the cloud's last list
	listedAt     time.Time // when the cloud was asked for that list
	listErr      error     // of the last look
	listFails    int       // looks that failed in a row
	looking      bool      // a look is under way
	looked       time.Time // when the last look began

	generation string    // see Versioned; "" = the cloud has none, or it is not known yet
	versioned  time.Time // when the cloud was asked for the generation
	recalled   bool      // the cloud has taken over the pins of the planner before; see Pinned
	pins       []byte    // as they are stored
	bucket     bucket    // of launches
	detours    int       // launches in a row after which the next one went another way
	refused    [callSorts]refusal

	conditions, logged conditions // of the last observation, and those that the log shows
	counted            *Census    // of the last tick; nil = there was none. What it points to does not change
}

// NewManager returns a Manager that does nothing yet.
func NewManager(cfg Config) *Manager {
	cfg = cfg.withDefaults()
	return &Manager{cfg: cfg, wake: loop.NewSignal(), failures: loop.NewFailures(context.Background(), cfg.Logger)}
}

// Wake makes the Manager look now instead of at its next scan, because the demand has changed. It never blocks.
func (m *Manager) Wake() { m.wake.Set() }

// Run plans and acts until ctx ends, and returns when everything that it started has returned. It works under the lease
// held: its changes of the store fail once somebody else holds that lease.
func (m *Manager) Run(ctx context.Context, held store.Lease) {
	r := &run{
		Manager: m, holder: held.Holder, failures: loop.NewFailures(ctx, m.cfg.Logger),
		store: store.Bounded(store.Fenced(m.cfg.Store, held), m.cfg.CallTimeout),
	}
	m.mu.Lock()
	m.findings = findings{
		observations: make(map[string]*observation), unknown: make(map[string]*observation), looked: time.Now(),
	}
	m.earlier += m.failures.Count()
	m.failures = r.failures
	m.mu.Unlock()

	r.going.Go(func() { r.watchQueue(ctx) })
	r.look(ctx) // nothing is planned before the cloud was asked what there is
	for ctx.Err() == nil {
		pause := r.tick(ctx)
		_ = loop.Wait(ctx, pause, m.wake.C()) // if ctx has ended, so does the loop
	}
	r.going.Wait()
	m.mu.Lock()
	m.conditions, m.counted = conditions{}, nil
	m.mu.Unlock()
}

// run is a Manager that works under a lease.
type run struct {
	*Manager
	holder   string         // of the lease
	store    store.Store    // its Updates fail once somebody else holds the lease
	failures *loop.Failures // of what runs in the background
	going    sync.WaitGroup // background goroutines
}
