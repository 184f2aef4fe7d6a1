package pool

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/store"
)

// A Manager keeps the number and the health of a pool's instances. It works only while Run does, and only one
// Manager of a pool should: Run is called under a lease.
type Manager struct {
	cfg  Config
	wake chan struct{} // capacity 1: look now

	launches, failures, lost, interruptions, strangersEnded, foreignEnded, probeFailures, throttles, errors atomic.Int64

	mu        sync.Mutex // protects what follows; never held across a call
	sights    map[string]*sight
	strangers map[string]*sight
	foreign   foreign
	machines  []Machine // as the cloud listed them when it last could
	listedAt  time.Time // when it was asked for them
	listErr   error     // of the last look
	listFails int       // looks that failed in a row
	looking   bool      // a look is under way
	looked    time.Time // when the last look began

	generation string    // see Versioned; "" = the cloud has none, or it is not known yet
	versioned  time.Time // when it was asked for
	recalled   bool      // what the planner before has resolved was taken over
	pins       []byte    // what is resolved, as it is stored
	bucket     bucket    // of launches
	detours    int       // launches in a row after which the next went another way
	refused    [calls]refusal
	is, told   conditions // of the last observation, and those that were logged
}

// NewManager returns a Manager that does nothing yet.
func NewManager(cfg Config) *Manager {
	return &Manager{cfg: cfg.withDefaults(), wake: make(chan struct{}, 1)}
}

// Wake makes the Manager look now instead of at its next scan: the demand has changed. It never blocks.
func (m *Manager) Wake() {
	select {
	case m.wake <- struct{}{}:
	default:
	}
}

// Run plans and acts until ctx ends, and returns when everything that it started has returned. held is the lease
// that it works under: every change of the store fails once that has passed to somebody else.
func (m *Manager) Run(ctx context.Context, held store.Lease) {
	m.mu.Lock()
	m.sights, m.strangers = make(map[string]*sight), make(map[string]*sight)
	m.foreign = foreign{}
	m.machines, m.listedAt, m.listErr, m.listFails, m.looking, m.looked = nil, time.Time{}, nil, 0, false, time.Now()
	m.generation, m.versioned, m.bucket, m.detours, m.refused = "", time.Time{}, bucket{}, 0, [calls]refusal{}
	m.recalled, m.pins = false, nil
	m.is, m.told = conditions{}, conditions{}
	m.mu.Unlock()

	r := &run{Manager: m, held: held}
	r.look(ctx) // nothing is planned before the cloud had a chance to say what there is
	for ctx.Err() == nil {
		pause := r.tick(ctx)
		wait(ctx, pause, m.wake)
	}
	r.going.Wait()
	m.mu.Lock()
	m.is = conditions{}
	m.mu.Unlock()
}

// run is a Manager that works under a lease.
type run struct {
	*Manager
	held  store.Lease
	going sync.WaitGroup // what tick has started
}

// update is an Update that fails once the lease has passed to somebody else.
func (r *run) update(ctx context.Context, keys []store.Key, fn func(tx store.Tx) error) error {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	return r.cfg.Store.Update(ctx, append(keys, r.held.Key()), func(tx store.Tx) error {
		if err := store.CheckFence(tx, r.held); err != nil {
			return err
		}
		return fn(tx)
	})
}

// failed logs and counts a background failure. ctx is that of the whole run: what fails because it has ended is no
// failure.
func (m *Manager) failed(ctx context.Context, what string, err error, args ...any) {
	if ctx.Err() != nil {
		return
	}
	m.errors.Add(1)
	m.cfg.Logger.WarnContext(ctx, what, append(args, "err", err)...)
}

// wait returns after d, when ctx ends or when woken.
func wait(ctx context.Context, d time.Duration, wake <-chan struct{}) {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-ctx.Done():
	case <-wake:
	case <-t.C:
	}
}
