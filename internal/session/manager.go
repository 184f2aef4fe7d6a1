// Package session leads sessions through their life: it creates and opens them, keeps their leases, and ends them.
//
// The next state of a session is stored before a process acts on it. The record names an owner: the replica that creates
// or ends the session. When that replica dies, another one becomes the owner. Beside the record, a process keeps a Status
// of each session that it knows: what it is doing with it, and which callers wait for its end.
package session

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/access"
	"github.com/berth-go/berth/internal/admission"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Config configures a Manager. All fields but Access, Env, Caches, Snapshots, Last and Telemetry are required.
type Config struct {
	Replica    string // this process, as records name it
	Store      store.Store
	Retry      store.Retry // over Store
	Queue      *admission.Queue
	Containers *orchestrator.Manager
	Member     Member
	Access     Access // nil = the callers of Create authorize the users
	Events     Events

	Env       map[string]string          // of every session's commands
	Caches    []agent.SharedDir          // of every session
	Snapshots orchestrator.SnapshotStore // nil = no request names a snapshot
	Retention time.Duration              // for which the record of an ended session is kept
	Work      Work                       // what is done in repositories
	Last      Last                       // what the host does with a session that ends; the zero value = nothing
	Proofs    *access.Cache              // of access, for this process

	Credentials Credentials // of the host application
	KnownHosts  string      // for ssh in every session

	// StartError makes the error that callers get for a session that could not be created
	StartError func(errs.StartError) error
	Closing    context.Context // ends, with ErrClosed, when no call begins any more
	Go         func(func())    // runs a function in a goroutine that Close of the Provider waits for
	Failures   *loop.Failures
	Telemetry  *telemetry.Telemetry // nil = tells nothing
}

// Member is this process among the replicas of the pool; see package replica.
type Member interface {
	// MayAct waits until this process may begin something. ErrSuspended: it could not for long.
	MayAct(ctx context.Context) error
	// Acting waits until this process may act, and returns a context that ends as soon as it may not.
	Acting(ctx context.Context) (context.Context, error)
	// Planner returns the planner's lease while this process holds it, and nil otherwise.
	Planner() *store.Lease
}

// Events receives the changes of sessions. Its methods must not block.
type Events interface {
	Placed(*store.Session)       // it has its place; its container is being made ready
	Active(*store.Session)       // it is active
	Ended(*store.Session, error) // it has ended, and why
	Emptied(*store.Container)    // its last session has ended, and it stays
}

// A Manager leads the sessions of one pool, as far as this process owns or uses them. All methods are safe for concurrent
// use.
type Manager struct {
	records
	*leases
	cfg     Config
	ctx     context.Context // of the background work
	known   *statuses
	cleaner *cleaner
	revoked revocations
	count   counters
	ends    sync.WaitGroup // of what ends sessions
	active  atomic.Int64   // sessions of the pool, when the leader of this process last looked at all of them; -1 = not known

	mu      sync.Mutex         // protects what follows; never held across a call
	stopped bool               // nothing is ended any more
	ending  map[string]*Ending // the sessions that this process is ending, by ID
}

// New returns a Manager. ctx is the context of the background work. When it ends, ends of sessions that are under way are
// given up, and another replica takes them over.
func New(ctx context.Context, cfg Config) *Manager {
	r := records{cfg.Store, cfg.StartError}
	known := &statuses{closing: cfg.Closing, byID: make(map[string]*Status)}
	m := &Manager{
		records: r, cfg: cfg, ctx: ctx, known: known, ending: make(map[string]*Ending),
		leases:  &leases{records: r, ctx: ctx, containers: cfg.Containers, known: known, spawn: cfg.Go, failures: cfg.Failures, telemetry: cfg.Telemetry},
		cleaner: &cleaner{store: cfg.Store, containers: cfg.Containers, failures: cfg.Failures},
	}
	m.active.Store(-1)
	return m
}

const (
	// poll is how often a record is read beside the store's notifications, which may be lost.
	poll           = time.Second
	resumeInterval = time.Second
	watchInterval  = 5 * time.Second
	leadInterval   = time.Second
)

// Run resumes what this process owns, and notices which sessions other replicas have ended, until ctx ends.
func (m *Manager) Run(ctx context.Context) {
	var wg sync.WaitGroup
	r := &reconciler{m}
	wg.Go(func() { r.resumeLoop(ctx) })
	wg.Go(func() { r.watchLoop(ctx) })
	wg.Wait()
}

// Lead ends the sessions whose lease ran out and those of lost instances, until ctx ends. It also removes the
// records of sessions that ended long ago. It runs under the planner's lease.
func (m *Manager) Lead(ctx context.Context, held store.Lease) {
	l := &leader{Manager: m, fenced: store.Fenced(m.cfg.Store, held)}
	defer m.observed.keep(m.known.has) // the next planner looks for itself
	defer m.active.Store(-1)
	loop.Every(ctx, leadInterval, func() {
		for _, step := range []struct {
			what string
			do   func(context.Context) error
		}{
			{"cannot end sessions that expired", l.expire},
			{"cannot end sessions that have reached their MaxLifetime", l.outgrown},
			{"cannot remove old sessions", l.removeOld},
			{"cannot end the sessions of lost instances", l.endLost},
			{"cannot end the sessions of instances that are taken back", l.endInterrupted},
		} {
			if err := step.do(ctx); err != nil && ctx.Err() == nil {
				m.cfg.Failures.Report(step.what, err)
			}
		}
	})
}

// leader is a Manager that works under the planner's lease.
type leader struct {
	*Manager
	fenced  store.Store // by that lease
	scanned time.Time   // when all leases were last looked at
	ages    ages
}

// Interrupt ends the creations that are under way in this process with an error.
func (m *Manager) Interrupt(cause error) { m.known.interrupt(cause) }

// Stop makes End refuse with ErrClosed, and returns when the ends that are under way are over.
func (m *Manager) Stop() {
	m.mu.Lock()
	m.stopped = true
	m.mu.Unlock()
	m.ends.Wait()
}

// Stats counts what a Manager has done since it was made, and what it does.
type Stats struct {
	Attached, Warm, Cold int64 // sessions that became active, by their start
	Failed               int64 // creations that failed or whose caller gave up
	Ended, Expired       int64
	Prepared, Unprepared int64 // sessions that began with a prepared layer, and that were to and began without

	Creating, Ending int64 // sessions that this process creates and ends now
	Active           int64 // of the pool, when this process last looked at all of them as their leader; -1 = it does not lead
}

type counters struct {
	attached, warm, cold, failed, ended, expired atomic.Int64
	prepared, unprepared                         atomic.Int64
}

func (c *counters) started(kind store.StartKind) {
	switch kind {
	case store.StartAttached:
		c.attached.Add(1)
	case store.StartWarm:
		c.warm.Add(1)
	default:
		c.cold.Add(1)
	}
}

// Stats returns the counts. It does not read the store.
func (m *Manager) Stats() Stats {
	c := &m.count
	m.mu.Lock()
	ending := int64(len(m.ending))
	m.mu.Unlock()
	return Stats{
		Creating: m.known.creations.Load(), Ending: ending, Active: m.active.Load(),
		Attached: c.attached.Load(), Warm: c.warm.Load(), Cold: c.cold.Load(),
		Failed: c.failed.Load(), Ended: c.ended.Load(), Expired: c.expired.Load(),
		Prepared: c.prepared.Load(), Unprepared: c.unprepared.Load(),
	}
}
