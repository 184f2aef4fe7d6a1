package berth

import (
	"context"
	"crypto/rand"
	"encoding/base32"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

type repository = naming.Repository

// CreateSession gives a task its place: in the running container of its repository, or in a new one on an instance
// with a free slot; while there is none, it waits. It returns when the checkout is there.
//
// A TaskID that has a session already gives that session, if user, repository and branch are the same; otherwise
// ErrTaskConflict. A caller whose context ends leaves nothing behind: what was begun is undone, for which CreateSession
// waits, but not for more than 5 s; the rest of it is done in the background. So it is with any other failure.
//
// Other errors: ErrInvalid (a *FieldError names the field), *StartError (the container or the checkout could not be
// made), ErrNoCapacity (see Config.QueueTimeout), ErrTerminated (somebody ended the session while it was created),
// ErrInstanceLost and ErrContainerLost (its place was lost more than once), ErrSuspended and ErrAbandoned (this process
// was cut off from the store), ErrClosed. After store.ErrUnknownOutcome the session may exist until it is undone. All
// but ErrInvalid and ErrTaskConflict may be repeated with the same TaskID.
func (p *Provider) CreateSession(ctx context.Context, req SessionRequest) (*Session, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.calls.Done()
	r, err := req.check(&p.cfg)
	if err != nil {
		return nil, err
	}
	for {
		s, other, err := p.create(ctx, r)
		switch {
		case err != nil:
			return nil, r.wrap(err)
		case other == nil:
			return s, nil
		case other.State == store.SessionActive:
			return p.handle(ctx, other), nil
		}
		// Another call creates it, or it is just being ended: look again when that is over.
		if err := p.awaitChange(ctx, other); err != nil {
			return nil, r.wrap(err)
		}
	}
}

// wrap says which task an error is about, where it does not say so itself.
func (r *request) wrap(err error) error {
	if _, ok := errors.AsType[*StartError](err); ok {
		return err
	}
	return fmt.Errorf("task %q on %s: %w", r.TaskID, r.key.Repository, err)
}

// admit stores a new session for the request, placed or queued, in one transaction; or it returns the one that the
// TaskID has. After ErrUnknownOutcome the session may be there.
func (p *Provider) admit(ctx context.Context, r *request, id string) (s *store.Session, ours bool, err error) {
	if err := p.mayAct(ctx); err != nil {
		return nil, false, err
	}
	now := time.Now()
	fresh := &store.Session{
		ID:     id,
		TaskID: r.TaskID, UserID: r.UserID, SharingKey: r.key, ContainerName: r.name, Remote: r.remote.URL, Branch: r.Branch,
		Labels: r.Labels, AuthorName: r.Author.Name, AuthorEmail: r.Author.Email, IdleTimeout: r.IdleTimeout,
		State: store.SessionCreating, Owner: p.replica, CreatedAt: now,
	}
	keys := []store.Key{
		store.PoolKey(), store.SharingKey(r.name), fresh.Key(), store.TaskKey(r.TaskID), store.UserKey(r.UserID),
	}
	var candidates []string
	var seq uint64
	for try := 1; ; try++ {
		newID := orchestrator.NewContainerID()
		err = p.persist(ctx, append(keys, p.hints.of(r.name, candidates, newID)...), func(tx store.Tx) error {
			seq = 0
			task, err := store.Find[*store.Task](tx, store.TaskKey(r.TaskID))
			if err != nil {
				return err
			}
			if task != nil {
				s, err = store.Get[*store.Session](tx, store.SessionKey(task.Session))
				ours = task.Session == id // then an earlier try was committed
				return err
			}
			s, ours = fresh.Clone().(*store.Session), true
			record, err := store.Get[*store.Pool](tx, store.PoolKey())
			if err != nil {
				return err
			}
			if record.Closed {
				return fmt.Errorf("%w: the pool is being destroyed; when that is done, New opens it again", ErrClosed)
			}
			placed := false
			if record.Queued == 0 { // who waits goes first
				placed, err = p.place(tx, s, candidates, newID, p.cfg.maxContainers(record), try > placeTries, now)
				if err != nil {
					return err
				}
			}
			if !placed {
				s.Queued = true
				if seq, err = joinQueue(tx, record); err != nil {
					return err
				}
			}
			if err := tx.Put(&store.Task{ID: s.TaskID, Session: s.ID}); err != nil {
				return err
			}
			return tx.Put(s)
		})
		if !errors.Is(err, errNeedsInstance) {
			break
		}
		if candidates, err = p.candidates(ctx, r.name); err != nil {
			break
		}
		if candidates == nil {
			candidates = []string{} // looked, and found none
		}
	}
	if err != nil {
		return nil, false, err
	}
	p.hints.placed(s)
	if ours && s.Queued {
		p.line.came(seq, s)
		p.wakeUp()
	}
	if !ours && (s.UserID != r.UserID || s.SharingKey.Repository != r.key.Repository || s.Branch != r.Branch) {
		return nil, false, ErrTaskConflict
	}
	return s, ours, nil
}

func (p *Provider) candidates(ctx context.Context, name string) (ids []string, err error) {
	err = p.store.View(ctx, func(v store.View) error {
		sharing, err := store.Find[*store.Sharing](v, store.SharingKey(name))
		if err != nil {
			return err
		}
		ids, err = pool.Candidates(v, sharing)
		return err
	})
	return ids, err
}

var sessionIDs = base32.NewEncoding("0123456789abcdefghijklmnopqrstuv").WithPadding(base32.NoPadding) // sorts as its bytes do

// newSessionID returns an ID that no other session has. IDs sort by the time at which they were made, to the millisecond:
// so a database adds new sessions at one end of its indexes, and writes fewer pages for them.
func newSessionID(now time.Time) string {
	var b [6 + 7]byte
	binary.BigEndian.PutUint64(b[:8], uint64(now.UnixMilli())<<16)
	rand.Read(b[6:])
	return "s-" + sessionIDs.EncodeToString(b[:])
}

// isSessionID reports whether a text may be the ID of a session: others come from outside, and are not worth a look.
func isSessionID(id string) bool {
	return id != "" && len(id) <= 128 &&
		strings.Trim(id, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-") == ""
}

// create admits a session and brings it to life, or undoes it. other is the session that the TaskID has already.
func (p *Provider) create(ctx context.Context, r *request) (active *Session, other *store.Session, err error) {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	id := newSessionID(time.Now())
	finished := p.creating(id, cancel) // before anybody can find it
	s, ours, err := p.admit(ctx, r, id)
	admitted := ours || errors.Is(err, store.ErrUnknownOutcome)
	if ours {
		active, err = p.bring(ctx, r, s)
	}
	finished()
	switch {
	case !admitted:
		p.untrack(id, err)
		return nil, s, err
	case err == nil:
		return active, nil, nil
	}
	if ctx.Err() != nil { // the context is why, whatever the failing call made of it
		err = context.Cause(ctx)
	}
	p.stats.failed.Add(1)
	p.abandon(ctx, id, err)
	return nil, nil, err
}

// bring takes a session from creating to active.
func (p *Provider) bring(ctx context.Context, r *request, s *store.Session) (*Session, error) {
	var waited time.Duration
	for try := 1; ; try++ {
		placed, err := p.awaitPlace(ctx, s, &waited)
		if err != nil {
			return nil, err
		}
		p.emit(EventSessionPlaced, placed, nil)
		active, err := p.open(ctx, r, placed)
		// The container died, or was stopping, before the session was in it.
		gone := errors.Is(err, agent.ErrGone) || errors.Is(err, agent.ErrClosed)
		if err == nil || !gone || try == placeTries || ctx.Err() != nil {
			return active, err
		}
		if s, err = p.requeue(ctx, placed); err != nil {
			return nil, err
		}
	}
}

// open waits for the session's container, makes the checkout and marks the session active.
func (p *Provider) open(ctx context.Context, r *request, s *store.Session) (*Session, error) {
	fail := func(phase string, err error) error {
		if failure, ok := errors.AsType[*orchestrator.StartFailure](err); ok {
			phase, err = failure.Phase, failure.Err
		}
		return &StartError{Phase: phase, TaskID: r.TaskID, Repository: r.key.Repository, Err: err}
	}
	ours := p.orch.Start(s.Container, r.cred)
	inside, err := p.orch.Inside(ctx, s.Container)
	if err != nil {
		err := fail("starting", err)
		if failure, ok := errors.AsType[*StartError](err); ok && failure.Phase == "fetching" && !ours {
			// Another task's credential was refused: that says nothing of ours.
			err = fmt.Errorf("%w: %w", err, agent.ErrGone)
		}
		return nil, err
	}
	if s.Start == string(StartAttached) {
		err := p.orch.Refresh(ctx, s, inside, r.cred)
		if err != nil && !errors.Is(err, agent.ErrBranchNotFound) { // Open says the same, in its phase
			return nil, fail("fetching", err)
		}
	} else if s.Start, err = p.startKind(ctx, s.Container); err != nil {
		return nil, fail("starting", err)
	}
	openCtx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	checkout, err := inside.Open(openCtx, agent.Session{
		ID: s.ID, UID: s.UID, Dir: checkoutDir(r.key.Repository), URL: r.remote.URL, Branch: r.Branch,
		Author: agent.Author(r.Author), Env: r.Env,
	})
	if err != nil {
		if errors.Is(err, agent.ErrBranchNotFound) {
			err = fmt.Errorf("branch %q: %w", r.Branch, err)
		}
		return nil, fail("checkout", err)
	}
	active, err := p.activate(ctx, s, checkout)
	if errors.Is(err, agent.ErrGone) {
		err = fail("starting", err)
	}
	return active, err
}

// openTimeout bounds the making of a checkout.
const openTimeout = 10 * time.Minute

// startKind tells a session that waited for its container's start what that start found.
func (p *Provider) startKind(ctx context.Context, container string) (string, error) {
	c, err := p.container(ctx, container)
	switch {
	case err != nil:
		return "", err
	case c == nil:
		return "", agent.ErrGone
	case c.Cold:
		return string(StartCold), nil
	}
	return string(StartWarm), nil
}

// activate marks a session active, and returns its handle.
func (p *Provider) activate(ctx context.Context, s *store.Session, checkout agent.Checkout) (*Session, error) {
	var active *store.Session
	var in *store.Instance
	keys := []store.Key{s.Key(), store.ContainerKey(s.Container), store.InstanceKey(s.Instance)}
	err := p.persist(ctx, keys, func(tx store.Tx) (err error) {
		if active, err = store.Get[*store.Session](tx, s.Key()); err != nil {
			return err
		}
		if in, err = store.Find[*store.Instance](tx, store.InstanceKey(s.Instance)); err != nil {
			return err
		}
		switch {
		case active.State == store.SessionActive:
			return nil // an earlier try was committed
		case active.State != store.SessionCreating:
			return ErrTerminated
		}
		now, err := store.Find[*store.Container](tx, store.ContainerKey(s.Container))
		if err != nil {
			return err
		}
		if now == nil || now.State != store.ContainerReady {
			return agent.ErrGone
		}
		active.State, active.EngineID, active.Start = store.SessionActive, now.EngineID, s.Start
		active.Workdir, active.CheckedOut = checkout.Workdir, checkout.Branch
		active.LeaseUntil = leaseUntil(active.IdleTimeout, time.Now())
		return tx.Put(active)
	})
	if err != nil {
		return nil, err
	}
	p.stats.started(active.Start)
	p.emit(EventSessionActive, active, nil)
	return p.session(active, in), nil
}

// checkoutDir is the name of the directory that holds a checkout.
func checkoutDir(r repository) string {
	name := strings.Map(func(c rune) rune {
		if c <= ' ' || c == '/' || c == 0x7f {
			return '-'
		}
		return c
	}, r.Name())
	if len(name) > 100 || strings.Trim(name, ".-") == "" || strings.HasPrefix(name, ".") || strings.HasPrefix(name, "-") {
		return "repository"
	}
	return name
}

// abandon undoes a creation that failed. It waits until that is done; a caller whose context has ended does not wait
// for long, the rest is done in the background.
func (p *Provider) abandon(ctx context.Context, id string, cause error) {
	why := store.Failure{Reason: endStartFailed, Phase: "placing", Message: orchestrator.Clean(cause.Error())}
	if failure, ok := errors.AsType[*StartError](cause); ok {
		why.Phase, why.Message = failure.Phase, orchestrator.Clean(failure.Err.Error())
	} else if ctx.Err() != nil {
		why.Reason, why.Phase = endCancelled, ""
	}
	e := p.end(id, why)
	patience := time.NewTimer(abandonPatience)
	defer patience.Stop()
	select {
	case <-e.done:
	case <-patience.C:
	}
}

// abandonPatience bounds how long a failed CreateSession waits for its own undoing.
const abandonPatience = 5 * time.Second
