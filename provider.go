package berth

import (
	"context"
	"iter"
	"sync"
	"sync/atomic"

	"github.com/berth-go/berth/internal/admission"
	"github.com/berth-go/berth/internal/filehelper"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/replica"
	"github.com/berth-go/berth/internal/session"
	"github.com/berth-go/berth/internal/usage"
	"github.com/berth-go/berth/internal/warmth"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// ComputeProvider is all that a host application needs to depend on. All methods are safe for concurrent use, and
// return ErrClosed when the Provider is closed, and ErrUnavailable when the store fails. Errors work with errors.Is and
// errors.As; Retryable says which may pass. *Provider has more to say of each method.
type ComputeProvider interface {
	// CreateSession gives a task its place, and returns when its checkout is there. A TaskID that has a session already
	// gives that session, or ErrTaskConflict if user, repository, branch, sharing key, snapshot, SelfContained, Submodules or LFS are others. A
	// caller whose context ends leaves nothing behind. Other errors: ErrInvalid, ErrAccessDenied, *StartError,
	// ErrNoCapacity, ErrQuota, ErrTerminated, ErrRevoked, ErrInstanceLost, ErrContainerLost, ErrSuspended, ErrAbandoned,
	// ErrUnavailable, ErrDestroying. All but ErrInvalid
	// and ErrTaskConflict may be repeated with the same TaskID.
	CreateSession(ctx context.Context, req SessionRequest) (*Session, error)
	// GetSession returns a session of any process. ErrSessionNotFound: the ID is unknown, or the session ended long ago.
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
	cfg   Config
	id    string // this process, as records name it
	store store.Store
	calls *gate
	background

	pool       *pool.Manager
	containers *orchestrator.Manager
	replica    *replica.Replica
	queue      *admission.Queue
	sessions   *session.Manager
	usage      *usage.Accountant
	warmth     *warmth.Keeper
	files      filehelper.Manager // the programs that serve the sessions' files

	events    *events
	failures  *loop.Failures
	destroyed atomic.Bool // Destroy has done its work
}

// background is the work of a Provider that no call waits for.
type background struct {
	ctx   context.Context // ends with Close
	stop  context.CancelFunc
	loops sync.WaitGroup
}

// String returns the pool's name. It shows none of the settings, which may hold secrets.
func (p *Provider) String() string { return "berth.Provider of pool " + p.cfg.Name }

// GoString is String.
func (p *Provider) GoString() string { return p.String() }

// A gate lets calls of the API in until it is closed, and knows when they have left.
type gate struct {
	closing context.Context // ends, with ErrClosed, when the gate closes
	close   context.CancelCauseFunc

	mu    sync.Mutex     // makes enter and shut atomic
	calls sync.WaitGroup // no call is added once closing has ended
}

func newGate() *gate {
	g := new(gate)
	g.closing, g.close = context.WithCancelCause(context.Background())
	return g
}

// enter begins a call. If it returns nil, the call ends with leave.
func (g *gate) enter() error {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closing.Err() != nil {
		return ErrClosed
	}
	g.calls.Add(1)
	return nil
}

func (g *gate) leave() { g.calls.Done() }

// wait returns when all calls have left.
func (g *gate) wait() { g.calls.Wait() }

// shut closes the gate: no call begins any more.
func (g *gate) shut() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.close(ErrClosed)
}
