package berth

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// SessionState is the state of a session.
type SessionState string

// The states of a session, in the order in which it passes through them.
const (
	SessionCreating    = SessionState(store.SessionCreating)
	SessionActive      = SessionState(store.SessionActive)
	SessionTerminating = SessionState(store.SessionTerminating)
	SessionEnded       = SessionState(store.SessionEnded)
)

// StartKind says what a session found when it came.
type StartKind string

// The kinds of start, the fastest first.
const (
	StartAttached StartKind = "attached" // the container was up
	StartWarm     StartKind = "warm"     // the instance had the repository's mirror
	StartCold     StartKind = "cold"     // the repository was cloned
)

// Session is a handle on one task's place. It is cheap, safe for concurrent use, and may be dropped at any time.
type Session struct {
	p    *Provider
	id   string
	info atomic.Pointer[SessionInfo]
	live *live
}

// SessionInfo is a snapshot of a session.
type SessionInfo struct {
	ID, TaskID, UserID, Branch string // Branch is the one that is checked out
	Repository                 naming.Repository
	State                      SessionState
	Container                  ContainerInfo
	Instance                   InstanceInfo
	Workdir                    string // the checkout, inside the container
	Start                      StartKind
	Labels                     map[string]string
	CreatedAt                  time.Time
	LeaseUntil                 time.Time // zero = it does not expire
	EndedAt                    time.Time // zero = it has not ended
}

// ContainerInfo names a container.
type ContainerInfo struct {
	Name string
	ID   string // the engine's own
}

// InstanceInfo is a snapshot of an instance. In a SessionInfo, only ID, CloudID and Address are set.
type InstanceInfo struct {
	ID      string // the launch ID
	CloudID string
	Address string // of its engine
	State   string // launching, booting, ready, cordoned, terminating, lost
	Reason  string // why it is cordoned, terminating or lost
	Slots   int
	Tasks   int // sessions that hold a slot
	Since   time.Time
}

// session makes a handle from a record and that of its instance, which may be nil.
func (p *Provider) session(r *store.Session, in *store.Instance) *Session {
	s := &Session{p: p, id: r.ID}
	if r.State == store.SessionEnded {
		s.live = &live{ended: true, err: endError(r)}
	} else {
		s.live = p.track(r.ID)
	}
	s.info.Store(describe(r, in))
	return s
}

// handle is session for whoever has not read the record of the instance. If that cannot be read, its address stays
// empty.
func (p *Provider) handle(ctx context.Context, r *store.Session) *Session {
	var in *store.Instance
	p.store.View(ctx, func(v store.View) (err error) {
		in, err = store.Find[*store.Instance](v, store.InstanceKey(r.Instance))
		return err
	})
	return p.session(r, in)
}

func describe(r *store.Session, in *store.Instance) *SessionInfo {
	info := &SessionInfo{
		ID: r.ID, TaskID: r.TaskID, UserID: r.UserID, Branch: r.CheckedOut, Repository: r.SharingKey.Repository,
		State:     SessionState(r.State),
		Container: ContainerInfo{Name: r.ContainerName, ID: r.EngineID},
		Instance:  InstanceInfo{ID: r.Instance},
		Workdir:   r.Workdir, Start: StartKind(r.Start), Labels: r.Labels,
		CreatedAt: r.CreatedAt, LeaseUntil: r.LeaseUntil, EndedAt: r.EndedAt,
	}
	if info.Branch == "" {
		info.Branch = r.Branch
	}
	if in != nil {
		info.Instance.CloudID, info.Instance.Address = in.CloudID, in.Address
	}
	return info
}

// ID returns the session's ID.
func (s *Session) ID() string { return s.id }

// Info returns the last snapshot that this handle has taken. Its Labels must not be changed.
func (s *Session) Info() SessionInfo { return *s.info.Load() }

// Refresh takes a new snapshot, and returns it. ErrSessionNotFound: it ended long ago.
func (s *Session) Refresh(ctx context.Context) (SessionInfo, error) {
	if err := s.p.enter(); err != nil {
		return s.Info(), err
	}
	defer s.p.calls.Done()
	r, in, err := s.p.placed(ctx, s.id)
	if err != nil {
		return s.Info(), err
	}
	if r.State == store.SessionEnded {
		s.p.untrack(s.id, endError(r))
		s.live.end(endError(r))
	}
	info := describe(r, in)
	s.info.Store(info)
	return *info, nil
}

// Done returns a channel that is closed when the session has ended, for whatever reason. A session that another
// replica ends is noticed within seconds.
func (s *Session) Done() <-chan struct{} { return s.live.doneChan() }

// Err returns why the session ended: ErrTerminated, ErrExpired, ErrInstanceLost, ErrContainerLost, ErrAbandoned or a
// *StartError; ErrSessionNotFound if it ended so long ago, unnoticed here, that nobody knows why any more. It is nil
// before Done is closed.
func (s *Session) Err() error { return s.live.why() }

// KeepAlive renews the session's lease, as a running command does.
func (s *Session) KeepAlive(ctx context.Context) error {
	if err := s.p.enter(); err != nil {
		return err
	}
	defer s.p.calls.Done()
	return s.p.renew(ctx, s.id)
}

// inside returns the inside of the session's container.
func (s *Session) inside(ctx context.Context) (orchestrator.Inside, *store.Session, error) {
	r, err := s.p.record(ctx, s.id)
	if err != nil {
		return nil, nil, err
	}
	if r.State != store.SessionActive {
		if r.End.Reason != "" {
			return nil, nil, fmt.Errorf("session %s: %w", s.id, endError(r))
		}
		return nil, nil, fmt.Errorf("session %s is %s", s.id, r.State)
	}
	inside, err := s.p.orch.Inside(ctx, r.Container)
	if err != nil {
		return nil, nil, fmt.Errorf("session %s: %w", s.id, err)
	}
	return inside, r, nil
}
