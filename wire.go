package berth

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/access"
	"github.com/berth-go/berth/internal/admission"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/replica"
	"github.com/berth-go/berth/internal/session"
	"github.com/berth-go/berth/internal/snapshot"
	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/internal/usage"
	"github.com/berth-go/berth/internal/warmth"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// This file joins the parts: it splits the Config between them, binds the calls that go from one to another, and starts
// their background work.

// New returns a Provider over any Cloud and Engine, and starts its background work, which goes on until Close. ctx
// bounds New itself.
func New(ctx context.Context, cfg Config) (*Provider, error) {
	cfg = cfg.withDefaults()
	if err := errors.Join(cfg.validate(), cfg.requireDrivers()); err != nil {
		return nil, err
	}
	return newProvider(ctx, cfg, boundStore(cfg.Store), launching{})
}

// launching is what a constructor knows of the launches of its cloud; see pool.Config.
type launching struct {
	boot         func(ctx context.Context, launchID string) (userData []byte, trust string, err error)
	foreignGrace time.Duration
}

// storeTimeout bounds each call of the store.
const storeTimeout = 30 * time.Second

// boundStore returns a Store whose calls end, with errors that have a name. nil = memory of this process's own.
func boundStore(st store.Store) store.Store {
	if st == nil {
		st = memstore.New()
	}
	if !store.InProcess(st) {
		st = store.Bounded(st, storeTimeout)
	}
	return store.Named(st, func(err error) error { return &storeError{err} })
}

// storeError is a failure of the store. It has the store's own words.
type storeError struct{ err error }

func (e *storeError) Error() string   { return "the store failed: " + e.err.Error() }
func (e *storeError) Unwrap() []error { return []error{ErrUnavailable, e.err} }

// newProvider returns a Provider for a Config that has its defaults and was found fit. st is what boundStore returned.
func newProvider(ctx context.Context, cfg Config, st store.Store, launches launching) (*Provider, error) {
	tel := telemetry.New(telemetry.Config{
		Meters: cfg.MeterProvider, Tracers: cfg.TracerProvider, Repositories: cfg.MetricRepositories, Logger: cfg.Logger,
	})
	st, cfg.Snapshots = tel.Store(st), tel.Snapshots(cfg.Snapshots)
	id := "r-" + strings.ToLower(rand.Text()[:16])
	record, err := replica.OpenPool(ctx, st, id)
	if err != nil {
		return nil, fmt.Errorf("berth: cannot use the store: %w", err)
	}
	p := &Provider{cfg: cfg, id: id, store: st, calls: newGate(), events: &events{fn: cfg.OnEvent, telemetry: tel}}
	up := upward{p}
	credentials, err := cfg.credentials()
	if err != nil {
		return nil, err
	}
	proofs := newProofs(cfg)
	p.ctx, p.stop = context.WithCancel(context.Background())
	p.failures = loop.NewFailures(p.ctx, cfg.Logger)
	p.events.failures = p.failures
	p.replica = replica.New(replica.Config{
		ID: id, Store: st, Settings: cfg.settings(), MaxContainers: cfg.MaxContainersPerRepository, ContainerIdleTimeout: cfg.ContainerIdleTimeout,
		Sessions: up, WakePool: func() { p.pool.Wake() }, Renewed: tel.Renewed, Failures: p.failures, Logger: cfg.Logger,
	}, record)
	p.containers = orchestrator.NewManager(orchestrator.Config{
		Pool: cfg.Name, PoolUID: record.UID, Replica: id, Store: st, Engine: tel.Engine(cfg.Engine),
		ImageFor: cfg.image, Env: cfg.Env, Limits: cfg.Limits, RequireIsolation: cfg.RequireIsolation, MirrorMaxAge: cfg.MirrorMaxAge, MirrorBudget: cfg.MirrorBudget,
		FetchTimeout: cfg.FetchTimeout, OrphanGrace: cfg.LeftoverGrace, Prove: proofs.Needed(),
		Egress: cfg.Egress, EgressFor: cfg.EgressFor, Caches: cfg.Caches, PrepareFor: cfg.PrepareFor, Snapshots: cfg.Snapshots, OnPrepared: p.events.prepared,
		Devcontainer: cfg.Devcontainer, OnUnsupported: p.events.unsupported, Answer: answers(p), KnownHosts: cfg.KnownHosts,
		Acting: p.replica.Acting, Carry: tel.Carry, LogArgs: tel.LogArgs, Sessions: up, OnProgress: up.progress, OnGone: up.containerGone, Logger: cfg.Logger,
	})
	p.usage = usage.New(usage.Config{
		Store: st, PoolUID: record.UID, Labels: cfg.UsageLabels, Retention: cfg.UsageRetention, Price: cfg.PricePerHour, Learn: cfg.Warm.Containers > 0, Failures: p.failures,
	})
	p.pool = pool.NewManager(poolConfig(p, tel, launches))
	retry := store.Retry{Store: st, Report: func(err error, keys []store.Key) {
		p.failures.Report("the store does not say whether it has written; trying again", err, "key", keys[0].String())
	}}
	p.queue = admission.New(admission.Config{
		Replica: id, Store: st, Retry: retry, Pool: p.pool, Containers: p.containers, Settings: p.replica,
		MaxInstances: cfg.MaxInstances, MaxTasksPerInstance: cfg.MaxTasksPerInstance, Timeout: cfg.QueueTimeout,
		Limits: cfg.limitsOf, Refuse: quotaError, OnQueued: p.events.queued, Closing: p.calls.closing, Failures: p.failures, Telemetry: tel,
	})
	p.sessions = session.New(p.ctx, session.Config{
		Replica: id, Store: st, Retry: retry, Queue: p.queue, Containers: p.containers, Member: p.replica, Events: p.events,
		Access: authorizer{cfg.Authorize, proofs}, Env: cfg.Env, Caches: cfg.sharedDirs(), Credentials: credentials, KnownHosts: cfg.KnownHosts, Snapshots: cfg.Snapshots, Proofs: proofs,
		Retention: cfg.SessionRetention, StartError: startError, Last: session.Last{Do: up.lastOf(), Timeout: cfg.EndTimeout}, Work: up,
		Closing: p.calls.closing, Go: p.loops.Go, Failures: p.failures, Telemetry: tel,
	})
	p.warmth = warmth.New(warmth.Config{
		Replica: id, Store: st, Retry: retry, Containers: p.containers, Timeout: cfg.ContainerIdleTimeout, Failures: p.failures,
		Source: credentials.Warm, Budget: cfg.Warm.budget(), Refresh: cfg.Warm.Refresh, MaxContainers: p.replica.MaxContainersBy, Context: p.ctx, Go: p.loops.Go, OnWarm: p.events.warmed,
	})
	context.AfterFunc(p.ctx, tel.Observe(p.state))
	startLoops(p)
	return p, nil
}

// newProofs returns what is known of users' access to repositories.
func newProofs(cfg Config) *access.Cache {
	proofs := access.NewCache(access.Mode(cfg.Access))
	if !proofs.Needed() {
		cfg.Logger.Warn("Config.Access is AccessAllowAll: each user may join what another user's credential has fetched, unless Config.Authorize refuses")
	}
	return proofs
}

func poolConfig(p *Provider, tel *telemetry.Telemetry, launches launching) pool.Config {
	cfg, up := p.cfg, upward{p}
	return pool.Config{
		Name: cfg.Name, Cloud: tel.Cloud(cfg.Cloud), Store: p.store, Boot: launches.boot, ForeignGrace: launches.foreignGrace,
		Probe: up.probe, Demand: func(ctx context.Context) (int, error) { return p.queue.Demand(ctx) }, OnChange: up.instanceChanged,
		OnList:       p.usage.Saw,
		OnTick:       up.tick,
		Logger:       cfg.Logger,
		InstanceType: cfg.InstanceType, MinInstances: cfg.MinInstances, MaxInstances: cfg.MaxInstances,
		SlotsPerInstance: cfg.MaxTasksPerInstance, SpareSlots: cfg.SpareSlots,
		IdleTimeout: cfg.InstanceIdleTimeout, BootTimeout: cfg.BootTimeout, MaxAge: cfg.MaxInstanceAge, LaunchRate: cfg.LaunchRate,
	}
}

// startLoops starts the background work of every process. The process that has the planner's lease also runs lead.
func startLoops(p *Provider) {
	p.loops.Go(func() { p.replica.Run(p.ctx, p.lead) })
	p.loops.Go(func() { p.queue.Run(p.ctx) })
	p.loops.Go(func() { p.sessions.Run(p.ctx) })
	p.loops.Go(func() { p.containers.Run(p.ctx) })
}

// lead is the work of the process that has the planner's lease.
func (p *Provider) lead(ctx context.Context, held store.Lease) {
	var wg sync.WaitGroup
	wg.Go(func() { p.pool.Run(ctx, held) })
	wg.Go(func() { p.replica.Lead(ctx, held) })
	wg.Go(func() { p.sessions.Lead(ctx, held) })
	wg.Go(func() { p.containers.Lead(ctx) })
	wg.Go(func() { p.usage.Run(ctx, held) })
	wg.Go(func() { p.warmth.Lead(ctx, held) })
	wg.Go(func() { snapshot.Tidy(ctx, p.cfg.Snapshots, p.cfg.SnapshotRetention, p.failures) })
	wg.Wait()
}

// upward has the calls that a part makes to one that is made after it: replica, pool and orchestrator know nothing of
// sessions, of the queue and of events.
type upward struct{ p *Provider }

// Interrupt implements replica.Sessions.
func (u upward) Interrupt(cause error) { u.p.sessions.Interrupt(cause) }

// BeginEnd implements replica.Sessions.
func (u upward) BeginEnd(id string, why store.Failure) { u.p.sessions.End(u.p.ctx, id, why) }

// EndSession implements orchestrator.Sessions.
func (u upward) EndSession(c store.Container, id string, cause error) {
	u.p.sessions.EndSession(c, id, cause)
}

// EndSessions implements orchestrator.Sessions.
func (u upward) EndSessions(c store.Container, cause error) {
	if cause != nil {
		u.p.events.container(EventContainerLost, c, cause)
	}
	if errors.Is(cause, agent.ErrOutOfMemory) {
		u.p.events.outOfMemory.Add(1)
		u.p.events.container(EventOutOfMemory, c, ErrOutOfMemory)
	}
	u.p.sessions.EndSessions(c, cause)
}

func (u upward) progress(c store.Container, message string) {
	u.p.events.emit(Event{
		Type: EventProgress, Repository: c.SharingKey.Repository, Container: c.Name, Instance: c.Instance, Message: message,
	})
}

func (u upward) containerGone(c store.Container) {
	u.p.events.container(EventContainerGone, c, nil)
	u.p.queue.Wake() // its name is free
	u.p.warmth.Wake()
}

// instanceChanged follows the state of an instance; "" = it is gone.
func (u upward) instanceChanged(in store.Instance) {
	p, state := u.p, string(in.State)
	switch in.State {
	case "":
		state = "gone"
		p.containers.Forget(in.ID)
	case store.InstanceReady:
		u.prefetch(in)
		p.loops.Go(func() { u.sweep(in) }) // what another store has left there is reported at once
	case store.InstanceCordoned:
		if in.Outlook == string(pool.OutlookInterrupted) {
			u.warn(in)
		}
	case store.InstanceLost:
		p.sessions.EndInstance(in)
	}
	p.events.emit(Event{Type: EventInstanceChange, Instance: in.ID, Message: state, Err: reasonError(in.Reason)})
	p.queue.Wake()
	p.warmth.Wake()
}

// tick tells of a tick of the planner, and for which sessions it acts.
func (u upward) tick(ctx context.Context, began time.Time, actions int) (acting context.Context, done func()) {
	_, waiting := u.p.queue.Seen()
	return u.p.events.telemetry.Tick(ctx, began, actions, waiting)
}

// probe is the pool's probe. It passes on what the cloud has announced to the host: the pool judges that.
func (u upward) probe(ctx context.Context, in *store.Instance) error {
	err := u.p.containers.Probe(ctx, in)
	notice, ok := errors.AsType[*orchestrator.NoticeError](err)
	if !ok {
		return err
	}
	outlook := pool.OutlookRebalance
	if notice.Notice == orchestrator.NoticeInterrupted {
		outlook = pool.OutlookInterrupted
	}
	return &pool.OutlookError{Outlook: outlook, Reason: notice.Error()}
}

// prefetch brings the image of most containers to an instance that has become ready, before the first of them needs it.
func (u upward) prefetch(in store.Instance) {
	p := u.p
	if p.ctx.Err() != nil {
		return
	}
	destroying := func() bool {
		record, err := store.ReadPool(p.ctx, p.store)
		return err == nil && record.Closed
	}
	p.loops.Go(func() {
		if destroying() {
			return
		}
		err := p.containers.Prefetch(p.ctx, &in, p.cfg.Image, func(message string) {
			p.events.emit(Event{Type: EventProgress, Instance: in.ID, Message: message})
		})
		if err != nil && !destroying() { // the first container tries again, and says why it cannot
			p.failures.Report("cannot bring the image to an instance", err, "instance", in.ID)
		}
	})
}

func (u upward) sweep(in store.Instance) {
	if err := u.p.containers.Sweep(u.p.ctx, &in); err != nil {
		u.p.failures.Report("cannot compare an engine with the store", err, "instance", in.ID)
	}
}

// sharedDirs are the caches as a session has them.
func (c *Config) sharedDirs() (dirs []agent.SharedDir) {
	for _, one := range c.Caches {
		dirs = append(dirs, agent.SharedDir{Name: one.Name, Dir: one.Dir})
	}
	return dirs
}

// commandHost is the command.Host of a session, for one command, and the filehelper.Host of its files.
type commandHost struct {
	s     *Session
	trace string // the ID of the session's trace; "" = none, or Use was not called, of which one call at a time may be under way
}

// ID implements command.Host.
func (h *commandHost) ID() string { return h.s.id }

// Use implements command.Host.
func (h *commandHost) Use(ctx context.Context, start func(inside orchestrator.Inside, release func()) error) error {
	p, calls := h.s.p, h.s.gate()
	if err := calls.enter(); err != nil {
		return err
	}
	defer calls.leave()
	inside, record, err := h.inside(ctx)
	if err != nil {
		return err
	}
	if h.s.own != nil { // it has no lease
		return start(inside, func() {})
	}
	h.trace = record.TraceID()
	return start(inside, p.sessions.Using(record))
}

// inside connects to the session's container.
func (h *commandHost) inside(ctx context.Context) (orchestrator.Inside, *store.Session, error) {
	if h.s.own != nil {
		return session.Owned{Manager: h.s.p.sessions}.Inside(ctx, h.s.id)
	}
	inside, record, err := h.s.p.sessions.Inside(ctx, h.s.id)
	switch {
	case errors.Is(err, agent.ErrGone): // the store may have been set back to a time when the container was there
		err = h.Explain(ctx, err)
	case err != nil:
		err = h.s.p.sessions.ExplainClosed(ctx, h.s.id, err)
	}
	return inside, record, err
}

// ask asks the agent of the session's container something that it answers at once. what is "cannot ..." without these words.
func (h *commandHost) ask(ctx context.Context, what string, question func(context.Context, orchestrator.Inside) error) error {
	if err := h.s.gate().enter(); err != nil {
		return err
	}
	defer h.s.gate().leave()
	asking, cancel := context.WithTimeoutCause(ctx, askTimeout, errNoAnswer)
	defer cancel()
	inside, _, err := h.inside(asking)
	if err != nil {
		return err
	}
	return h.asked(ctx, what, question(asking, inside))
}

// asked returns the error of a question to the agent. ctx is that of the caller.
func (h *commandHost) asked(ctx context.Context, what string, err error) error {
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	}
	return h.Explain(ctx, fmt.Errorf("session %s: cannot %s: %w", h.s.id, what, err))
}

// askTimeout bounds each question to the agent of a container.
const askTimeout = 30 * time.Second

// errNoAnswer is the cause with which a question is given up.
var errNoAnswer = fmt.Errorf("%w: the agent of the container has not answered for %v", ErrUnavailable, askTimeout)

// Explain implements command.Host.
func (h *commandHost) Explain(ctx context.Context, err error) error {
	if h.s.own != nil {
		return session.Owned{Manager: h.s.p.sessions}.Explain(ctx, h.s.id, err)
	}
	return h.s.p.sessions.Explain(ctx, h.s.id, h.s.status, err)
}

// Go implements command.Host.
func (h *commandHost) Go(fn func()) { h.s.p.loops.Go(fn) }

// Report implements command.Host.
func (h *commandHost) Report(ctx context.Context, what string, err error) {
	about := []any{"session", h.s.id}
	args := h.s.p.events.telemetry.LogArgs(ctx, about...)
	if len(args) == len(about) && h.trace != "" {
		args = append(args, telemetry.LogTrace, h.trace)
	}
	h.s.p.failures.Report(what, err, args...)
}

// Ended implements command.Host. It counts an *ExitError that has OutOfMemory, and sends its event.
func (h *commandHost) Ended(err error) {
	e, ok := errors.AsType[*ExitError](err)
	if !ok || !e.OutOfMemory {
		return
	}
	info := h.s.Info()
	h.s.p.events.outOfMemory.Add(1)
	h.s.p.events.emit(Event{
		Type: EventOutOfMemory, SessionID: info.ID, TaskID: info.TaskID, UserID: info.UserID, Repository: info.Repository,
		Container: info.Container.Name, Instance: info.Instance.ID, Start: info.Start, Err: e,
	})
}
