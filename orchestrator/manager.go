package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// Config configures a Manager. The zero value of an optional field is the default that its comment gives.
type Config struct {
	Pool    string // its name
	PoolUID string
	Replica string // this process, as records name it
	Store   store.Store
	Engine  Engine

	ImageFor func(naming.Repository) string // "" = the engine's default image
	Limits   Limits
	// MirrorMaxAge is how old a mirror may be when a session is attached; an older one is fetched first. -1 = any age.
	MirrorMaxAge time.Duration
	MirrorBudget int64         // bytes of mirrors per instance, beyond which the least recently used go. -1 = no bound
	StartTimeout time.Duration // for a container to start, without its fetch. 5 min
	FetchTimeout time.Duration // 1 h
	CallTimeout  time.Duration // of one call to an engine. 30 s
	OrphanGrace  time.Duration // how long a container may be unknown to the store before it is removed. 5 min

	// Tenure waits until this process may act on what it owns, and returns a context that ends when it may not any
	// more, because others may have taken it for dead. nil = it always may
	Tenure func(context.Context) (context.Context, error)

	OnProgress func(c store.Container, message string) // of a start; must not block
	// OnLost is told once that a container died or was removed from outside. Its sessions are to be ended.
	OnLost func(c store.Container, cause error)
	// EndSession is asked to end an active session that its container does not have.
	EndSession func(c store.Container, id string)
	// EndSessions is asked to end the active sessions of a container that is gone, again and again until there are none.
	EndSessions func(c store.Container)
	OnGone      func(c store.Container) // a container was removed: its name is free again
	Logger      *slog.Logger
}

func (c Config) withDefaults() Config {
	c.StartTimeout = cmp.Or(c.StartTimeout, 5*time.Minute)
	c.FetchTimeout = cmp.Or(c.FetchTimeout, time.Hour)
	c.CallTimeout = cmp.Or(c.CallTimeout, 30*time.Second)
	c.OrphanGrace = cmp.Or(c.OrphanGrace, 5*time.Minute)
	if c.Tenure == nil {
		c.Tenure = func(ctx context.Context) (context.Context, error) { return context.Background(), ctx.Err() }
	}
	if c.OnProgress == nil {
		c.OnProgress = func(store.Container, string) {}
	}
	if c.OnLost == nil {
		c.OnLost = func(store.Container, error) {}
	}
	if c.EndSession == nil {
		c.EndSession = func(store.Container, string) {}
	}
	if c.EndSessions == nil {
		c.EndSessions = func(store.Container) {}
	}
	if c.OnGone == nil {
		c.OnGone = func(store.Container) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}

// Credential is what a fetch answers when git asks. It is kept in memory for as long as a container starts.
type Credential struct{ Username, Password string }

// A Manager carries out what is written down about containers, for those that this process uses.
type Manager struct {
	cfg    Config
	ctx    context.Context // ends with Close
	cancel context.CancelFunc
	going  sync.WaitGroup // keepers and what they have started

	tended map[string]time.Time // states of containers that Tend has seen, since when; for it alone

	starts, startFailures, lost, fetches, errors atomic.Int64

	mu      sync.Mutex // protects what follows; never held across a call
	closed  bool       // going takes no more
	keepers map[string]*keeper
	hosts   map[string]*host
	// Containers that the engine of an instance has and the store has not, by their engine's ID: since when.
	unknown map[string]map[string]time.Time
	visited map[string]map[string]time.Time // when containers were visited, by ID, by instance
	foreign map[string]int                  // containers of another store that uses this pool's name, by instance
}

// NewManager returns a Manager. Close ends it.
func NewManager(cfg Config) *Manager {
	ctx, cancel := context.WithCancel(context.Background())
	return &Manager{
		cfg: cfg.withDefaults(), ctx: ctx, cancel: cancel,
		keepers: make(map[string]*keeper), hosts: make(map[string]*host), unknown: make(map[string]map[string]time.Time),
		foreign: make(map[string]int), visited: make(map[string]map[string]time.Time),
	}
}

// Close stops keeping. Containers and what runs in them live on. It returns when every goroutine has ended.
func (m *Manager) Close() {
	m.mu.Lock()
	m.closed = true
	m.mu.Unlock()
	m.cancel()
	m.going.Wait()
	m.mu.Lock()
	hosts := m.hosts
	m.hosts = nil
	m.mu.Unlock()
	for _, h := range hosts {
		h.close()
	}
}

// spawn runs fn in a goroutine that Close waits for, unless the Manager is closed. The caller holds mu.
func (m *Manager) spawn(fn func()) bool {
	if !m.closed {
		m.going.Go(fn)
	}
	return !m.closed
}

// Stats counts what a Manager has done since it was made.
type Stats struct {
	Starts         int64 // containers started
	StartFailures  int64
	ContainersLost int64 // containers that died or were removed from outside
	Fetches        int64 // times that a remote was asked
	Errors         int64 // failed background calls to engines and the store; each is logged

	// Foreign is how many containers carry the pool's name and another store's UID: those of another pool, or of a store
	// that was lost. They are left alone until their name is needed and nobody uses them. Only the planner counts them.
	Foreign int
}

// Stats returns the counts. It may be called at any time.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	foreign := 0
	for _, n := range m.foreign {
		foreign += n
	}
	m.mu.Unlock()
	return Stats{
		Foreign: foreign,
		Starts:  m.starts.Load(), StartFailures: m.startFailures.Load(), ContainersLost: m.lost.Load(),
		Fetches: m.fetches.Load(), Errors: m.errors.Load(),
	}
}

// Inside returns the inside of a container, when it is ready: it starts the container if that is this process's task,
// or waits for whoever does. *StartFailure: it could not be started. agent.ErrGone: it is stopping or gone.
func (m *Manager) Inside(ctx context.Context, container string) (Inside, error) {
	k := m.keeper(container, Credential{})
	select {
	case <-k.ready:
		return k.inside, k.err
	default:
	}
	select {
	case <-k.ready:
		return k.inside, k.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Attached returns the inside of a container to which this process is attached already, without asking anybody; nil if
// it is not.
func (m *Manager) Attached(container string) Inside {
	m.mu.Lock()
	k := m.keepers[container]
	m.mu.Unlock()
	if k == nil {
		return nil
	}
	select {
	case <-k.ready:
		return k.inside // nil if err is set
	default:
		return nil
	}
}

// Start begins to start a container that this process has created. What it does outlives the caller's context: other
// sessions may wait for it. It reports whether cred is what the start uses, if it has any use for one: a start that
// another session began uses that one's.
func (m *Manager) Start(container string, cred Credential) (used bool) {
	k := m.keeper(container, cred)
	m.mu.Lock()
	defer m.mu.Unlock()
	return k.cred == cred
}

// Stop returns when a container that is marked stopping, and that no session holds any more, is gone. To remove it is
// this process's task, or that of another replica; it goes on in the background when ctx ends first.
func (m *Manager) Stop(ctx context.Context, container string) error {
	wake, release := m.cfg.Store.Notify(store.ContainerKey(container))
	defer release()
	for {
		c, _, err := m.look(ctx, container)
		if err != nil || c == nil || c.State != store.ContainerStopping || c.Sessions > 0 {
			return err
		}
		var gone chan struct{} // nil = it is another's
		if c.Owner == m.cfg.Replica {
			k := m.keeper(container, Credential{})
			k.stop()
			gone = k.gone
		}
		select {
		case <-gone: // one that was about to end when it was told to stop may have looked at the record before
		case <-wake:
		case <-time.After(poll):
		case <-m.ctx.Done():
			return agent.ErrClosed
		case <-ctx.Done():
			return context.Cause(ctx)
		}
	}
}

// Tend goes on with what this process has begun with containers and nobody does: a start that was cut off is given
// up, and what is marked stopping is removed. It is to be called now and then, by one caller at a time, and forgets
// instances that are gone.
func (m *Manager) Tend(ctx context.Context) error {
	q := store.ContainerQuery{
		Owner: m.cfg.Replica, States: []store.ContainerState{store.ContainerStarting, store.ContainerStopping},
	}
	seen := make(map[string]time.Time)
	for c, err := range store.Containers(ctx, m.cfg.Store, q) {
		if err != nil {
			return err
		}
		key := c.ID + " " + string(c.State)
		since, again := m.tended[key]
		if !again {
			since = time.Now()
		}
		if seen[key] = since; time.Since(since) >= tendAfter { // else it has only just been written down
			m.tend(c)
		}
	}
	m.tended = seen
	return m.forgetGone(ctx)
}

// tendAfter is for how long a state must have been seen before it seems that nobody minds it. Its Since is of no use for
// that: another replica may have written it, by its own clock.
const tendAfter = 5 * time.Second

func (m *Manager) tend(c *store.Container) {
	m.mu.Lock()
	k := m.keepers[c.ID]
	if k == nil {
		k = m.newKeeper(c.ID, Credential{})
		k.cut = true
		m.run(k)
	}
	m.mu.Unlock()
	if c.State == store.ContainerStopping {
		k.stop()
	}
}

// keeper returns the keeper of a container, and makes it if there is none.
func (m *Manager) keeper(container string, cred Credential) *keeper {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.keepers[container]
	if k == nil {
		k = m.newKeeper(container, cred)
		m.run(k)
	}
	return k
}

func (m *Manager) newKeeper(container string, cred Credential) *keeper {
	k := &keeper{m: m, id: container, cred: cred, ready: make(chan struct{}), gone: make(chan struct{})}
	k.ctx, k.stop = context.WithCancel(m.ctx)
	return k
}

// run starts a keeper. The caller holds mu.
func (m *Manager) run(k *keeper) {
	if m.spawn(k.run) {
		m.keepers[k.id] = k
		return
	}
	k.err = agent.ErrClosed
	k.stop()
	close(k.ready)
	close(k.gone)
}

func (m *Manager) drop(k *keeper) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.keepers, k.id)
	k.stop()
}

// failed logs and counts a background failure.
func (m *Manager) failed(what string, err error, args ...any) {
	if m.ctx.Err() != nil {
		return
	}
	m.errors.Add(1)
	m.cfg.Logger.Warn(what, append(args, "err", err)...)
}

// look reads the records of a container and of its instance; nil is one that there is not.
func (m *Manager) look(ctx context.Context, id string) (c *store.Container, in *store.Instance, err error) {
	err = m.cfg.Store.View(ctx, func(v store.View) error {
		if c, err = store.Find[*store.Container](v, store.ContainerKey(id)); err != nil || c == nil {
			return err
		}
		in, err = store.Find[*store.Instance](v, store.InstanceKey(c.Instance))
		return err
	})
	return c, in, err
}

// insist is an Update that is tried again while the store fails, until ctx ends. fn must bear being committed twice.
// An agent.ErrGone of fn is final.
func (m *Manager) insist(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 5*time.Second) {
		err := m.cfg.Store.Update(ctx, keys, fn)
		if err == nil || ctx.Err() != nil || errors.Is(err, agent.ErrGone) || errors.Is(err, store.ErrClosed) {
			return err
		}
		m.failed("cannot write to the store; trying again", err, "key", keys[0].String())
		t := time.NewTimer(pause)
		select {
		case <-ctx.Done():
		case <-t.C:
		}
		t.Stop()
	}
}

// StartFailure says in which phase the start of a container failed.
type StartFailure struct {
	Phase string // "starting" or "fetching"
	Err   error
}

func (f *StartFailure) Error() string { return fmt.Sprintf("%s: %v", f.Phase, f.Err) }
func (f *StartFailure) Unwrap() error { return f.Err }
