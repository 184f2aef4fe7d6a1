package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// leases renews the leases of sessions, and finds out whether they have lapsed.
type leases struct {
	records
	ctx        context.Context // of the background work
	containers *orchestrator.Manager
	known      *statuses
	observed   observations
	spawn      func(func())
	failures   *loop.Failures
	telemetry  *telemetry.Telemetry
}

// Renew renews the lease of a session, at the agent of its container and in the store. The agent comes first: the next
// planner believes it, also when the store does not say what became of the write. If the agent cannot be notified, that is no
// failure: the record says so, and the planner watches the lease for its whole term instead.
func (l *leases) Renew(ctx context.Context, id string) error {
	asked := time.Now()
	r, err := l.read(ctx, id)
	if err != nil {
		return err
	}
	if r.State != store.SessionActive {
		return l.inactive(r)
	}
	o := l.observed.see(r, asked)
	lapsing := r.LeaseUntil.Before(asked.Add(r.IdleTimeout)) // also after this machine was suspended
	if r.IdleTimeout < 0 || o.fresh(r.IdleTimeout, asked) && !lapsing {
		return nil
	}
	return l.renewSince(ctx, r, renewal{after: asked, before: asked, untold: !l.notifyAgent(ctx, r)})
}

// notifyAgent tells the agent of a session's container that the session was renewed, and reports whether the agent knows. It
// leaves half of the time that ctx has to the store.
func (l *leases) notifyAgent(ctx context.Context, r *store.Session) (told bool) {
	patience := askTimeout
	if deadline, bounded := ctx.Deadline(); bounded {
		patience = min(patience, time.Until(deadline)/2)
	}
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	inside, err := l.containers.Inside(ctx, r.Container)
	if err == nil {
		err = inside.Renew(ctx, r.ID)
	}
	if err != nil && !cannotTell(err) && !errors.Is(err, context.Canceled) {
		l.failures.Report("cannot tell a container's agent that a session was renewed", err, about(r)...)
	}
	return err == nil
}

// A renewal is a use of a session that renews its lease.
type renewal struct {
	after, before time.Time // the session was last used between them
	untold        bool      // the container's agent does not know
}

// renewSince renews the lease of a session.
func (l *leases) renewSince(ctx context.Context, r *store.Session, use renewal) error {
	var beat uint64
	err := l.store.Update(ctx, []store.Key{r.Key()}, func(tx store.Tx) error {
		s, err := store.Find[*store.Session](tx, r.Key())
		switch {
		case err != nil:
			return err
		case s == nil:
			return fmt.Errorf("session %s: %w", r.ID, errs.ErrSessionNotFound)
		case s.State != store.SessionActive:
			return l.inactive(s)
		}
		s.Beat++
		beat = s.Beat
		s.LeaseUntil, s.Untold = leaseUntil(s.IdleTimeout, use.before), use.untold
		return tx.Put(s)
	})
	if err == nil {
		l.observed.wrote(r.ID, beat, use.after, use.before)
	}
	if !errs.IsEnd(err) && ctx.Err() == nil { // else it has no lease any more
		l.telemetry.Renewed(telemetry.LeaseSession, err)
	}
	return err
}

const (
	askTimeout = 5 * time.Second // for an agent to say when a session was last used
	// askPatience is how long a session whose lease has ended is kept while its agent cannot be asked. Within that time, an
	// instance that does not answer any more is lost.
	askPatience = 5 * time.Minute
	// askPause is the time after which an agent is asked again that could not say how long a session has been idle.
	askPause = 30 * time.Second
)

// cannotTell reports whether an agent will never say how long a session has been idle.
func cannotTell(err error) bool {
	return errors.Is(err, agent.ErrGone) || errors.Is(err, agent.ErrUnknownSession) || errors.Is(err, agent.ErrOverLimit) || errors.Is(err, errors.ErrUnsupported)
}

// lapsed reports whether a session that is to expire has really been idle, and with which beat of its lease. It asks the
// agent, and renews the lease if that says otherwise: a process that has ended may have started a command, of which no
// other process knows. If the agent cannot tell, or was not told of the last renewal, a lease in doubt is kept until this
// process has watched it for its whole term.
func (l *leases) lapsed(ctx context.Context, id string) (beat uint64, lapsed bool, err error) {
	asked := time.Now()
	r, err := store.Read[*store.Session](ctx, l.store, store.SessionKey(id))
	if err != nil || r == nil || r.State != store.SessionActive {
		return 0, true, err // markTerminating sees that it is over
	}
	o := l.observed.see(r, asked)
	verdict := o.verdict(r.IdleTimeout, time.Now())
	if r.IdleTimeout < 0 || verdict == leaseHolds {
		return 0, false, nil
	}
	if r.Untold && verdict == leaseInDoubt {
		l.observed.update(id, func(o *observation) { o.failed = asked })
		return 0, false, nil
	}
	asked = time.Now()
	idle, err := l.idle(ctx, r)
	answered := time.Now()
	switch {
	case err == nil && idle < LeaseTerm(r.IdleTimeout):
		return 0, false, l.renewSince(ctx, r, renewal{after: asked.Add(-idle), before: answered.Add(-idle)})
	case err == nil:
		return r.Beat, true, nil
	case verdict == leaseOver && cannotTell(err):
		return r.Beat, true, nil
	case !cannotTell(err):
		l.failures.Report("cannot ask whether a session is in use", err, about(r)...)
	}
	l.observed.update(id, func(o *observation) { o.failed = answered })
	return r.Beat, verdict == leaseOver && answered.Sub(o.before) >= LeaseTerm(r.IdleTimeout)+askPatience, nil
}

// idle returns how long a session has had no running command and no renewal.
func (l *leases) idle(ctx context.Context, r *store.Session) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	inside, err := l.containers.Inside(ctx, r.Container)
	if err != nil {
		return 0, err
	}
	return inside.Idle(ctx, r.ID)
}

// Using renews the session's lease for as long as a command of it runs: now, and from then on until stop is called, which
// renews it once more.
func (l *leases) Using(r *store.Session) (stop func()) {
	s := l.known.of(r.ID)
	s.mu.Lock()
	s.commands++
	if s.commands == 1 && r.IdleTimeout >= 0 {
		ctx, cancel := context.WithCancel(l.ctx)
		s.stopRenewing = cancel
		l.spawn(func() {
			loop.Every(ctx, max(r.IdleTimeout/3, time.Millisecond), func() { l.renewUsed(ctx, r) })
		})
	}
	s.mu.Unlock()
	return func() {
		s.mu.Lock()
		s.commands--
		var cancel context.CancelFunc
		if s.commands == 0 {
			cancel, s.stopRenewing = s.stopRenewing, nil
		}
		s.mu.Unlock()
		if cancel != nil {
			cancel()
		}
		l.renewUsed(l.ctx, r)
	}
}

// renewUsed renews the lease of a session that is in use, unless that was just done. It does not read from the store.
func (l *leases) renewUsed(ctx context.Context, r *store.Session) {
	now := time.Now()
	o := l.observed.get(r.ID)
	if r.IdleTimeout < 0 || o.fresh(r.IdleTimeout, now) {
		return
	}
	err := l.renewSince(ctx, r, renewal{after: now, before: now})
	if err != nil && ctx.Err() == nil && !errs.IsEnd(err) {
		l.failures.Report("cannot renew a lease", err, about(r)...)
	}
}
