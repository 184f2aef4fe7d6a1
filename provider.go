package berth

import (
	"context"
	"crypto/rand"
	"fmt"
	"iter"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/internal/lease"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// ComputeProvider is all that a host application needs to depend on. All methods are safe for concurrent use, and
// return ErrClosed when the Provider is closed. Errors work with errors.Is and errors.As; those of the store are among
// them, and may be tried again. *Provider has more to say of each method.
type ComputeProvider interface {
	// CreateSession gives a task its place, and returns when its checkout is there. A TaskID that has a session already
	// gives that session, or ErrTaskConflict if user, repository or branch are others. A caller whose context ends
	// leaves nothing behind. Other errors: ErrInvalid, *StartError, ErrNoCapacity, ErrTerminated, ErrInstanceLost,
	// ErrContainerLost, ErrSuspended, ErrAbandoned. All but ErrInvalid and ErrTaskConflict may be repeated with the same
	// TaskID.
	CreateSession(ctx context.Context, req SessionRequest) (*Session, error)
	// GetSession returns a session, whichever process made it. ErrSessionNotFound: nothing is known of the ID, or the
	// session ended long ago.
	GetSession(ctx context.Context, id string) (*Session, error)
	// ListSessions returns the sessions that a filter selects. An error, such as ErrInvalid for the filter, comes with a
	// nil session and ends the sequence.
	ListSessions(ctx context.Context, filter SessionFilter) iter.Seq2[*Session, error]
	// TerminateSession ends a session, and returns when nothing is left of it. Terminating an ended session succeeds;
	// ErrSessionNotFound: as GetSession. When ctx ends first, that is the error, and the work goes on.
	TerminateSession(ctx context.Context, id string) error
}

var _ ComputeProvider = (*Provider)(nil)

// Provider is the ComputeProvider of one pool. All methods are safe for concurrent use.
type Provider struct {
	cfg     Config
	replica string // this Provider, as records name it
	store   store.Store
	pool    *pool.Manager
	orch    *orchestrator.Manager
	events  events
	stats   counters
	kick    chan struct{} // capacity 1: the queue is to be looked at
	tenure  tenure
	line    line
	hints   hints
	ruling  atomic.Pointer[ruling] // never nil
	witness witness
	plans   atomic.Pointer[store.Lease] // the planner's lease while this process holds it; nil = it does not
	closing chan struct{}               // closed when Close begins

	registered atomic.Bool // this process is listed on the pool's record
	destroyed  atomic.Bool // Destroy has done its work

	ctx    context.Context // of the background work; ends with Close
	cancel context.CancelFunc
	loops  sync.WaitGroup // of the background loops
	ends   sync.WaitGroup // of what ends sessions

	mu      sync.Mutex         // protects what follows; never held across a call
	closed  bool               // no call begins any more; closing says so, too
	stopped bool               // nothing is ended any more
	calls   sync.WaitGroup     // calls under way; none is added once closed is set
	live    map[string]*live   // what this process knows of sessions that have not ended, by ID
	ending  map[string]*ending // sessions that this process is ending
}

// The terms of the leases: how long a process may be silent before others take over what it does.
const replicaTerm = 15 * time.Second

// storeTimeout bounds each call of the store.
const storeTimeout = 30 * time.Second

// New returns a Provider over any Cloud and Engine, and starts its background work, which goes on until Close. ctx
// bounds New itself.
func New(ctx context.Context, cfg Config) (*Provider, error) {
	cfg = cfg.withDefaults()
	if err := cfg.validate(); err != nil {
		return nil, err
	}
	if cfg.Store == nil {
		cfg.Store = memstore.New()
	}
	if _, memory := cfg.Store.(*memstore.Store); !memory { // which always answers
		cfg.Store = store.Bounded(cfg.Store, storeTimeout)
	}
	replica := "r-" + strings.ToLower(rand.Text()[:16])
	record, err := ensurePool(ctx, cfg.Store, replica)
	if err != nil {
		return nil, fmt.Errorf("berth: cannot use the store: %w", err)
	}
	p := &Provider{
		cfg:     cfg,
		replica: replica,
		store:   cfg.Store,
		events:  events{fn: cfg.OnEvent},
		kick:    make(chan struct{}, 1),
		closing: make(chan struct{}),
		live:    make(map[string]*live),
		ending:  make(map[string]*ending),
		witness: witness{watches: make(map[string]*lease.Watch)},
	}
	p.ctx, p.cancel = context.WithCancel(context.Background())
	p.tenure.init()
	p.ruling.Store(cfg.ruled(record))
	p.orch = orchestrator.NewManager(orchestrator.Config{
		Pool: cfg.Name, PoolUID: record.UID, Replica: p.replica, Store: cfg.Store, Engine: cfg.Engine,
		ImageFor: cfg.image, Limits: cfg.Limits, MirrorMaxAge: cfg.MirrorMaxAge, MirrorBudget: cfg.MirrorBudget,
		FetchTimeout: cfg.FetchTimeout,
		Tenure:       p.tenure.await,
		OnProgress:   p.onProgress, OnLost: p.onContainerLost,
		EndSession: p.endAbsent, EndSessions: p.endContainer, OnGone: p.onContainerGone,
		Logger: cfg.Logger,
	})
	p.pool = pool.NewManager(pool.Config{
		Name: cfg.Name, Cloud: cfg.Cloud, Store: cfg.Store, Boot: cfg.boot, Probe: p.probe, Demand: p.demand,
		OnChange: p.onInstance, Logger: cfg.Logger,
		InstanceType: cfg.InstanceType, MinInstances: cfg.MinInstances, MaxInstances: cfg.MaxInstances,
		SlotsPerInstance: cfg.MaxTasksPerInstance, SpareSlots: cfg.SpareSlots,
		IdleTimeout: cfg.InstanceIdleTimeout, BootTimeout: cfg.BootTimeout, MaxAge: cfg.MaxInstanceAge, LaunchRate: cfg.LaunchRate,
		ForeignGrace: cfg.foreignGrace,
	})
	p.startLoops()
	return p, nil
}

// startLoops starts the background work. This process's own lease says that it lives; the planner's, that it is the
// one that plans.
func (p *Provider) startLoops() {
	alive := &lease.Keeper{Store: p.store, ID: replicaLease(p.replica), Holder: p.replica, Term: replicaTerm, Failed: p.failed}
	planner := &lease.Keeper{Store: p.store, ID: "planner", Holder: p.replica, Term: replicaTerm, Failed: p.failed}
	p.loops.Go(func() { alive.Run(p.ctx, p.serve) })
	p.loops.Go(func() {
		planner.Run(p.ctx, func(ctx context.Context, held store.Lease) {
			p.plans.Store(&held)
			defer p.plans.Store(nil)
			var wg sync.WaitGroup
			wg.Go(func() { p.pool.Run(ctx, held) })
			wg.Go(func() { p.hearLoop(ctx) })
			wg.Go(func() { (&reaper{Provider: p, held: held}).loop(ctx) })
			wg.Go(func() { p.sweepLoop(ctx) })
			wg.Wait()
		})
	})
	p.loops.Go(p.dispatchLoop)
	p.loops.Go(p.tendLoop)
	p.loops.Go(p.watchLoop)
	p.loops.Go(p.heedLoop)
}

// ensurePool makes the pool's record if there is none, and returns it. A pool that was destroyed is opened again. The
// process, if it is named, is listed on it before it takes its lease, so that this is found and removed if it dies.
func ensurePool(ctx context.Context, st store.Store, replica string) (p *store.Pool, err error) {
	err = st.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) (err error) {
		p, err = store.Find[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		if p == nil {
			p = &store.Pool{UID: strings.ToLower(rand.Text())}
		}
		if p.Draining && p.Instances == 0 && len(p.Destroyers) == 0 { // a Destroy has done its work
			p.Closed, p.Draining = false, false
		}
		if replica != "" && !slices.Contains(p.Replicas, replica) {
			p.Replicas = append(p.Replicas, replica)
		}
		return tx.Put(p)
	})
	return p, err
}

// enter begins a call of the API. Whoever got nil calls p.calls.Done when it ends.
func (p *Provider) enter() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		return ErrClosed
	}
	p.calls.Add(1)
	return nil
}

// closeGrace is how long Close waits for calls under way to undo what they had begun.
const closeGrace = 10 * time.Second

// Close stops the background work and returns when it has stopped. Instances, containers, sessions and their commands
// live on, and another Provider over the same Store finds them: before it ends a session whose lease ran out meanwhile,
// it asks whether a command runs in it. Creations under way end with ErrClosed; what they and calls of TerminateSession
// have begun is given 10 s to come to its end. With a Store in memory nothing finds them again: use Destroy. Close is
// idempotent.
func (p *Provider) Close() error {
	p.mu.Lock()
	if !p.closed {
		p.closed = true
		close(p.closing)
	}
	p.mu.Unlock()
	p.interruptAll(ErrClosed)

	calls := make(chan struct{})
	go func() {
		p.calls.Wait()
		p.mu.Lock()
		p.stopped = true
		p.mu.Unlock()
		p.ends.Wait()
		close(calls)
	}()
	grace := time.NewTimer(closeGrace)
	defer grace.Stop()
	select {
	case <-calls:
	case <-grace.C:
	}
	p.cancel()
	p.orch.Close()
	<-calls
	p.loops.Wait()
	p.resign()
	if !p.events.wait(closeGrace) {
		p.cfg.Logger.Warn("Config.OnEvent does not return: Close does not wait for it any more", "events", p.events.waiting())
	}
	return nil
}

// image is the image of a repository's container.
func (c *Config) image(r repository) string {
	if c.ImageFor != nil {
		if image := c.ImageFor(r); image != "" {
			return image
		}
	}
	return c.Image
}

// wakeUp makes the dispatcher look at the queue. It never blocks.
func (p *Provider) wakeUp() {
	select {
	case p.kick <- struct{}{}:
	default:
	}
}
