package orchestrator

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// A Manager does what the records say about containers, for those that this process uses.
type Manager struct {
	hosts
	pace
	fits
	*workspaces
	cfg      Config
	ctx      context.Context // ends with Close; its cause is then agent.ErrClosed
	cancel   context.CancelCauseFunc
	tasks    *tasks
	mirrors  *mirrors
	observed *observations
	retry    store.Retry
	failures *loop.Failures

	isolations isolations
	fills      fills

	starts, startFailures, lost, fetches, swept atomic.Int64

	mu      sync.Mutex // protects keepers, and the cred, fetched and started of each; never held across a call
	keepers map[string]*keeper
}

// NewManager returns a Manager. Close ends it.
func NewManager(cfg Config) *Manager {
	ctx, cancel := context.WithCancelCause(context.Background())
	cfg = cfg.withDefaults()
	running := new(tasks)
	m := &Manager{
		hosts: hosts{cfg: cfg, ctx: ctx, tasks: running, byInstance: make(map[string]*host)},
		cfg:   cfg, ctx: ctx, cancel: cancel, tasks: running,
		observed: &observations{poolUID: cfg.PoolUID, grace: cfg.OrphanGrace, byInstance: make(map[string]*observation)},
		failures: loop.NewFailures(ctx, cfg.Logger),
		keepers:  make(map[string]*keeper),
	}
	m.fits.cfg = &m.cfg
	m.workspaces = &workspaces{m: m, kept: layers{store: cfg.Snapshots}}
	m.mirrors = &mirrors{store: cfg.Store, hosts: &m.hosts, budget: cfg.MirrorBudget, log: cfg.Logger}
	m.retry = store.Retry{
		Store: cfg.Store,
		Again: func(err error) bool { return !errors.Is(err, agent.ErrGone) },
		Report: func(err error, keys []store.Key) {
			m.failures.Report("cannot write to the store; trying again", err, "key", keys[0].String())
		},
	}
	return m
}

// Close stops the background work. Containers, and the commands in them, go on. Close returns when every goroutine has
// ended.
func (m *Manager) Close() {
	first := m.tasks.close(func() { m.cancel(agent.ErrClosed) })
	m.hosts.close()
	if r, ok := m.cfg.Engine.(Releaser); ok && first {
		r.Release()
	}
}

// acting waits until this process may act on what it owns. The context that it returns also ends when the process may no
// longer act: another replica may then have taken over.
func (m *Manager) acting(ctx context.Context) (context.Context, context.CancelFunc, error) {
	held, err := m.cfg.Acting(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := within(ctx, held)
	return ctx, cancel, nil
}

// within returns a context that ends with ctx, and also with other, whose cause it then has.
func within(ctx, other context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(other, func() { cancel(context.Cause(other)) })
	return ctx, func() { stop(); cancel(nil) }
}

// Stats counts what a Manager has done since it was made.
type Stats struct {
	Starts         int64 // containers started
	StartFailures  int64
	ContainersLost int64 // containers that died or were removed from outside
	Fetches        int64 // fetches that asked the remote
	Swept          int64 // helper containers, volumes and networks that a process had left behind, and that were removed
	Errors         int64 // failed background calls to engines and the store; each is logged

	Prepared        int64 // workspaces that were prepared, also by Provider.Promote
	PreparedStored  int64 // workspaces that were prepared by what Config.Snapshots had
	PrepareFailures int64 // workspaces that could not be prepared; each is logged

	// Foreign is how many containers carry the pool's name and another store's UID: those of another pool, or of a store
	// that was lost. Each is left alone until its name is needed and nobody uses it. Only the planner counts them.
	Foreign int
	// WithoutRooms is how many instances give sessions no rooms, of those on which this process has started containers. The
	// planner counts all. InstanceInfo.IsolationReason says why.
	WithoutRooms int
}

// States returns how many containers of the pool there were in each state when this process last looked at each instance. The
// planner looks at all of them once a minute. Those that are ready without a session are StateEmpty. States makes no request.
func (m *Manager) States() map[store.ContainerState]int64 { return m.observed.states() }

// Stats returns the counts. It may be called at any time.
func (m *Manager) Stats() Stats {
	return Stats{
		Foreign: m.observed.foreign(), WithoutRooms: m.isolations.withoutRooms(),
		Starts: m.starts.Load(), StartFailures: m.startFailures.Load(), ContainersLost: m.lost.Load(),
		Fetches: m.fetches.Load(), Swept: m.swept.Load(), Errors: m.failures.Count(),
		Prepared: m.workspaces.prepared.Load(), PreparedStored: m.workspaces.fetched.Load(), PrepareFailures: m.workspaces.failed.Load(),
	}
}
