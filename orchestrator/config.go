package orchestrator

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// The defaults of Config.
const (
	DefaultStartTimeout = 5 * time.Minute
	DefaultFetchTimeout = time.Hour
	DefaultCallTimeout  = 30 * time.Second
	DefaultOrphanGrace  = 5 * time.Minute
)

// Config configures a Manager. A comment gives the default that the zero value of an optional field means.
type Config struct {
	Pool    string // the pool's name
	PoolUID string
	Replica string // this process, as records name it
	Store   store.Store
	Engine  Engine

	ImageFor func(naming.Repository) string // "" = the engine's default image
	Env      map[string]string              // of every fetch, and of what fills caches
	Caches   []Cache                        // that sessions of a container share
	Limits   Limits
	// PrepareFor says how the workspace of a repository is prepared. nil = none is.
	PrepareFor func(naming.Repository) Prepare
	// Snapshots keeps prepared layers for other instances. nil = nothing does.
	Snapshots SnapshotStore
	// Devcontainer adds what a repository's devcontainer.json says: see agent.Prepare.
	Devcontainer bool
	// RequireIsolation refuses containers whose sessions have no rooms.
	RequireIsolation bool
	KnownHosts       string // of every fetch: see agent.Fetch
	// Prove makes the fetch of a start prove access: see agent.Fetch.
	Prove  bool
	Egress Egress
	// EgressFor returns the egress of one sharing key; a zero one = Egress. nil = Egress for all.
	EgressFor func(naming.Key) Egress
	// MirrorMaxAge is how old a mirror may be when a session is attached. An older one is fetched first. -1 = any age.
	MirrorMaxAge time.Duration
	// MirrorBudget is how many bytes of mirrors an instance keeps. Beyond it the least recently used ones are removed.
	// -1 = no bound.
	MirrorBudget int64
	StartTimeout time.Duration // bounds the start of a container, without its fetch. Default DefaultStartTimeout
	FetchTimeout time.Duration // bounds a fetch. Default DefaultFetchTimeout
	CallTimeout  time.Duration // bounds one call to an engine. Default DefaultCallTimeout
	// OrphanGrace is how long a container may be unknown to the store, or another resource may be unused, before it is
	// removed. Default DefaultOrphanGrace.
	OrphanGrace time.Duration

	// Acting waits until this process may act on what it owns. The context that it returns ends when the process may no
	// longer act, because other processes may have declared it dead. nil = the process may always act.
	Acting func(context.Context) (context.Context, error)

	// Answer answers a question of the git of a session in a container. It must return when ctx ends. nil = this process answers none.
	Answer func(ctx context.Context, c store.Container, q agent.Question) agent.Answer

	// Carry returns a context like to that belongs to the trace of from. The start of a container outlives the call that
	// needs it, and belongs to its trace. nil = to
	Carry func(to, from context.Context) context.Context
	// LogArgs adds what names the trace of ctx to the attributes of a line of the log, which the start of a container writes. nil =
	// nothing
	LogArgs func(ctx context.Context, args ...any) []any

	Sessions   Sessions                                // nil = none
	OnProgress func(c store.Container, message string) // reports the progress of a start. It must not block
	OnGone     func(c store.Container)                 // reports that a container was removed: its name is free again
	OnPrepared func(c store.Container, p Prepared)     // reports what became of a workspace. It must not block
	// OnUnsupported reports what a devcontainer.json has and nothing uses, when that changes. It must not block
	OnUnsupported func(c store.Container, names []string)
	Logger        *slog.Logger // nil = discard
}

// Sessions ends the sessions of containers.
type Sessions interface {
	// EndSession ends an active session that its container does not have. cause is nil, or the agent.ErrOverLimit for which
	// the container's agent has ended the session.
	EndSession(c store.Container, id string, cause error)
	// EndSessions ends the active sessions of a container that is gone. cause says how the container died, or that it was
	// removed from outside, and is passed once. It is nil for a container that was removed: EndSessions is then called
	// again and again until no session is left.
	EndSessions(c store.Container, cause error)
}

// noSessions does nothing. It is the Sessions of a Config without Sessions.
type noSessions struct{}

// EndSession implements Sessions.
func (noSessions) EndSession(store.Container, string, error) {}

// EndSessions implements Sessions.
func (noSessions) EndSessions(store.Container, error) {}

// imageOf returns the image of a repository's containers; "" = the engine's default image.
func (c *Config) imageOf(r naming.Repository) (image string, err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("%w: Config.ImageFor(%s) panicked: %v", ErrImage, r, p)
		}
	}()
	if c.ImageFor != nil {
		image = c.ImageFor(r)
	}
	return image, nil
}

func (c Config) withDefaults() Config {
	c.StartTimeout = cmp.Or(c.StartTimeout, DefaultStartTimeout)
	c.FetchTimeout = cmp.Or(c.FetchTimeout, DefaultFetchTimeout)
	c.CallTimeout = cmp.Or(c.CallTimeout, DefaultCallTimeout)
	c.OrphanGrace = cmp.Or(c.OrphanGrace, DefaultOrphanGrace)
	if c.Acting == nil {
		c.Acting = func(ctx context.Context) (context.Context, error) { return context.Background(), ctx.Err() }
	}
	if c.Carry == nil {
		c.Carry = func(to, _ context.Context) context.Context { return to }
	}
	if c.LogArgs == nil {
		c.LogArgs = func(_ context.Context, args ...any) []any { return args }
	}
	if c.Sessions == nil {
		c.Sessions = noSessions{}
	}
	if c.OnProgress == nil {
		c.OnProgress = func(store.Container, string) {}
	}
	if c.OnGone == nil {
		c.OnGone = func(store.Container) {}
	}
	if c.OnUnsupported == nil {
		c.OnUnsupported = func(store.Container, []string) {}
	}
	if c.OnPrepared == nil {
		c.OnPrepared = func(store.Container, Prepared) {}
	}
	if c.Logger == nil {
		c.Logger = slog.New(slog.DiscardHandler)
	}
	return c
}
