// Package replica makes a process a member of a pool that several processes share.
//
// A replica holds a lease of its own, which says that it lives. It acts on what it owns (sessions that it creates or ends,
// containers that it starts or removes) only while it holds that lease. One of the replicas also holds the planner's
// lease. The planner publishes its settings on the pool's record, and takes over what dead replicas have left. Every
// replica watches the leases of the others, so that a new planner finds the dead ones soon.
package replica

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/internal/lease"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// Term is how long a process may be silent before the others take over what it does.
const Term = 15 * time.Second

// The sorts of leases, as Config.Renewed is told of them.
const (
	LeaseReplica = "replica" // this process lives
	LeasePlanner = "planner" // this process plans the pool
)

const (
	watchInterval = time.Second // between two looks at the pool's record and the other replicas' leases
	leadInterval  = time.Second // between two looks for what dead replicas have left
	listInterval  = time.Second // between two checks that this process is listed
)

// Config configures a Replica. All fields are required.
type Config struct {
	ID       string // of this process, and of no other
	Store    store.Store
	Settings map[string]string // of this process; see store.Pool.Settings
	// MaxContainers and ContainerIdleTimeout are this process's own settings of these names
	MaxContainers        int
	ContainerIdleTimeout time.Duration
	Sessions             Sessions
	WakePool             func()                        // wakes the pool's planner
	Renewed              func(lease string, err error) // is told of each try to renew a lease. It must not block
	Failures             *loop.Failures
	Logger               *slog.Logger
}

// Sessions are the sessions that this process creates and ends.
type Sessions interface {
	// Interrupt ends the creations that are under way with an error.
	Interrupt(cause error)
	// BeginEnd begins to end a session, and does not wait.
	BeginEnd(id string, why store.Failure)
}

// A Replica is one process of a pool. All methods are safe for concurrent use.
type Replica struct {
	cfg      Config
	member   membership
	detector detector
	inForce  atomic.Pointer[settings]    // never nil
	planner  atomic.Pointer[store.Lease] // nil = this process does not plan
	another  atomic.Pointer[time.Time]   // when this process last saw another one plan; nil = never
	listed   atomic.Bool                 // this process is on the pool's record
}

// New returns a Replica, which begins to act with Run. pool is the pool's record, on which OpenPool has listed it.
func New(cfg Config, pool *store.Pool) *Replica {
	r := &Replica{cfg: cfg, detector: detector{watches: make(map[string]*lease.Watch)}}
	r.member.init()
	r.inForce.Store(r.settingsOf(pool))
	return r
}

// Run holds the leases until ctx ends, and returns when everything that it started has returned. While this process holds
// the planner's lease, Run runs lead under it; lead returns soon after its context ends.
func (r *Replica) Run(ctx context.Context, lead func(ctx context.Context, held store.Lease)) {
	keeper := func(id, sort string) *lease.Keeper {
		return &lease.Keeper{
			Store: r.cfg.Store, ID: id, Holder: r.cfg.ID, Term: Term, Failed: r.cfg.Failures.Report,
			Renewed: func(err error) { r.cfg.Renewed(sort, err) },
		}
	}
	var wg sync.WaitGroup
	wg.Go(func() { keeper(leaseID(r.cfg.ID), LeaseReplica).Run(ctx, r.serve) })
	wg.Go(func() {
		planner := keeper("planner", LeasePlanner)
		planner.Alive = func() {
			now := time.Now()
			r.another.Store(&now)
		}
		planner.Run(ctx, func(ctx context.Context, held store.Lease) {
			r.planner.Store(&held)
			defer r.planner.Store(nil)
			lead(ctx, held)
		})
	})
	wg.Go(func() { r.watchPool(ctx) })
	wg.Go(func() { r.stayListed(ctx) })
	wg.Wait()
}

// Lead publishes this process's settings and takes over from dead replicas, until ctx ends. It runs under the planner's
// lease.
func (r *Replica) Lead(ctx context.Context, held store.Lease) {
	l := &leader{Replica: r, store: store.Fenced(r.cfg.Store, held)}
	loop.Every(ctx, leadInterval, func() {
		if err := l.publishSettings(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Failures.Report("cannot write the pool's settings", err)
		}
		if err := l.takeOver(ctx); err != nil && ctx.Err() == nil {
			r.cfg.Failures.Report("cannot take over from dead replicas", err)
		}
	})
}

// leader is a Replica that works under the planner's lease.
type leader struct {
	*Replica
	store     store.Store // fenced by that lease
	published bool        // the settings are on the pool's record
}

// Planner returns the planner's lease while this process holds it, and nil otherwise.
func (r *Replica) Planner() *store.Lease { return r.planner.Load() }

// Planned reports whether a process plans the pool: this one, or one that this process has seen within the last Term.
func (r *Replica) Planned() bool {
	seen := r.another.Load()
	return r.Planner() != nil || seen != nil && time.Since(*seen) < Term
}
