package berth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"iter"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/admission"
	"github.com/berth-go/berth/internal/filehelper"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/plain"
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

// Promote makes what a session has installed the prepared layer of its repository: all sessions that begin from then on, and for which the
// layer is (see docs/prepare.md), begin with it, as with one that Config.PrepareFor has made. It works without Config.PrepareFor, too. The
// layer has what the session has added to the files of the commit with which it began, whether git ignores it or not, and what it has in
// Prepare.Dirs. Its own branches, commits and changes of files of that commit are not in it.
//
// Sessions with the same sharing key run what is in the layer. Promote is the host's decision that they may: the session's user, and
// whatever ran in the session, has chosen every byte of it. Promote looks for what is the user's own by mistake: values of SessionRequest.Env
// and Cmd.Env, but for those of Config.Env, passwords that git was given, contents of settings in the home, files with the names of
// credentials, and links to the session's other files. agent.ErrNotPromoted then names the file, and nothing is promoted: see
// agent.Client.Promote for all that is looked for. A session that began with a snapshot, or with the work of another task, is refused so, too.
//
// The session goes on. Its processes are stopped while its files are read, as for Session.Snapshot. Open sessions keep what they have. A
// session that starts meanwhile begins with the layer that was there before, or without. Of several calls, the one that ends last decides.
// EventPrepared tells. If ctx ends first, nothing is promoted, or all of it.
//
// ErrSessionNotFound, ErrSessionStarting, the error of Session.Err if it has ended, ErrUnavailable, ErrClosed. errors.ErrUnsupported: sessions
// there do not begin with prepared layers, or the container runs an agent of an older version.
func (p *Provider) Promote(ctx context.Context, sessionID string) (err error) {
	defer func() { err = plain.Error(err) }()
	if err := p.calls.enter(); err != nil {
		return err
	}
	defer p.calls.leave()
	r, in, err := p.read(ctx, sessionID)
	if err != nil {
		return err
	}
	if r.Restored || r.Snapshot != "" {
		return fmt.Errorf("session %s: %w: it began with the work of another session", sessionID, agent.ErrNotPromoted)
	}
	c := store.Container{ID: r.Container, Name: r.ContainerName, SharingKey: r.SharingKey, Instance: r.Instance}
	h := &commandHost{s: p.session(r, in)}
	return h.Use(ctx, func(inside orchestrator.Inside, release func()) error {
		defer release()
		return h.asked(ctx, "promote what it has installed", p.containers.Promote(ctx, c, inside, sessionID))
	})
}

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

// UserLimits bound what one user may have in the pool, over all processes. A session over a limit is refused at once with a
// *QuotaError; nothing of it is stored. A repeated CreateSession for a task that has a session is no new one.
//
// 0 means no limit: then MaxInstances and MaxTasksPerInstance alone bound what a user takes, and the queue serves first
// the user who holds the fewest slots. Each process goes by its own Config. Give the same to all.
type UserLimits struct {
	// Sessions bounds the sessions that hold a slot: those that are active, being created in their container, or being ended,
	// until nothing is left of them. A session that waits in the queue gets no slot while its user is at the limit.
	// 0 = no limit; in what UserLimitsFor returns, 0 = that of UserLimits and -1 = no limit
	Sessions int
	// Queued bounds the sessions that wait for a slot. A new session passes through the queue whenever others wait, even if
	// there is a slot for it. A session that loses its place before it is active waits again, even beyond the limit. 0 and -1
	// as for Sessions
	Queued int
	// StartsPerMinute bounds the sessions that begin in any minute. A creation that fails counts, a refused one does not. The
	// minute is that of the processes' wall clocks. If the clocks of two processes differ by d, less than a minute, each sees
	// the starts of the other for up to d longer or shorter. If they differ by more, each counts only its own, and the limit is
	// not kept. Starts count in groups of those that began within 5 s, until the last one of them is a minute old. While they
	// count, the record of the user's last ended session stays, whatever SessionRetention is. 0 and -1 as for Sessions
	StartsPerMinute int
}

// A QuotaError says which of the UserLimits refuses a session. errors.Is(err, ErrQuota) holds for it, and Retryable is true.
type QuotaError struct {
	UserID string
	Limit  string // the field of UserLimits: "Sessions", "Queued" or "StartsPerMinute"
	Max    int    // the limit
	Now    int    // how many the user has
	// RetryAfter is the time after which StartsPerMinute allows the next start, unless others come first. 0 for the other
	// limits: then it takes the end of one of the user's sessions, or a slot for one that waits
	RetryAfter time.Duration
}

func (e *QuotaError) Error() string {
	has, then := "sessions at once", "try again when one of them has ended"
	switch e.Limit {
	case admission.LimitQueued:
		has, then = "sessions that wait for a slot", "try again when one of them has its slot"
	case admission.LimitStartsPerMinute:
		wait := max(e.RetryAfter, 0).Truncate(time.Second)
		if wait < e.RetryAfter {
			wait += time.Second
		}
		has, then = "starts within a minute", fmt.Sprintf("try again in %v", wait)
	}
	return fmt.Sprintf("%v: user %q has %d %s, of at most %d (UserLimits.%s): %s", ErrQuota, e.UserID, e.Now, has, e.Max, e.Limit, then)
}

// Unwrap makes a QuotaError an ErrQuota.
func (e *QuotaError) Unwrap() error { return ErrQuota }

func quotaError(r admission.Refusal) error {
	return &QuotaError{UserID: r.UserID, Limit: r.Limit, Max: r.Max, Now: r.Now, RetryAfter: r.RetryAfter}
}

// limitsOf returns the limits of a user. Most calls are made in the background, where a panic would end the process.
func (c *Config) limitsOf(userID string) (limits admission.Limits, err error) {
	l := c.UserLimits
	if c.UserLimitsFor != nil {
		defer func() {
			if p := recover(); p != nil {
				err = &FieldError{Field: "Config.UserLimitsFor", Reason: fmt.Sprintf("panicked for user %q: %v", userID, p)}
			}
		}()
		own := c.UserLimitsFor(userID)
		l.Sessions, l.Queued = cmp.Or(own.Sessions, l.Sessions), cmp.Or(own.Queued, l.Queued)
		l.StartsPerMinute = cmp.Or(own.StartsPerMinute, l.StartsPerMinute)
	}
	return admission.Limits{Sessions: max(l.Sessions, 0), Queued: max(l.Queued, 0), StartsPerMinute: max(l.StartsPerMinute, 0)}, nil
}

// requireDrivers returns what New needs beside the settings.
func (c Config) requireDrivers() error {
	const reason = "is required: use NewLocalProvider, or give a driver"
	var errs []error
	if c.Cloud == nil {
		errs = append(errs, &FieldError{Field: "Config.Cloud", Reason: reason})
	}
	if c.Engine == nil {
		errs = append(errs, &FieldError{Field: "Config.Engine", Reason: reason})
	}
	return errors.Join(errs...)
}
