package berth

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// A session's lease is renewed for a tenth more than its IdleTimeout, and a renewal that would gain less than that
// tenth is left out: many short commands cost few writes.

// leaseUntil is the end of a lease that begins at now. Zero = it does not end.
func leaseUntil(idle time.Duration, now time.Time) time.Time {
	if idle < 0 {
		return time.Time{}
	}
	return now.Add(idle + idle/10)
}

// expired reports whether the lease of an active session has ended.
func expired(s *store.Session, now time.Time) bool {
	return s.State == store.SessionActive && !s.LeaseUntil.IsZero() && s.LeaseUntil.Before(now)
}

// errAlive says that a session that was to expire was renewed.
var errAlive = errors.New("the session's lease was renewed")

// renew renews the lease of a session.
func (p *Provider) renew(ctx context.Context, id string) error {
	r, err := p.record(ctx, id)
	if err != nil {
		return err
	}
	return p.renewSince(ctx, r, time.Now())
}

// renewSince renews the lease of a session that was last used at a time.
func (p *Provider) renewSince(ctx context.Context, r *store.Session, used time.Time) error {
	if r.State == store.SessionActive && !lapsing(r, used) {
		return nil
	}
	return p.store.Update(ctx, []store.Key{r.Key()}, func(tx store.Tx) error {
		s, err := store.Find[*store.Session](tx, r.Key())
		switch {
		case err != nil:
			return err
		case s == nil:
			return fmt.Errorf("session %s: %w", r.ID, ErrSessionNotFound)
		case s.State != store.SessionActive && s.End.Reason != "":
			return fmt.Errorf("session %s: %w", r.ID, endError(s))
		case s.State != store.SessionActive:
			return fmt.Errorf("session %s is %s", r.ID, s.State)
		}
		if !lapsing(s, used) {
			return nil
		}
		s.LeaseUntil = leaseUntil(s.IdleTimeout, used)
		return tx.Put(s)
	})
}

// lapsing reports whether the lease ends before a whole IdleTimeout after the session was last used.
func lapsing(s *store.Session, used time.Time) bool {
	return s.IdleTimeout >= 0 && s.LeaseUntil.Before(used.Add(s.IdleTimeout))
}

const (
	askTimeout = 5 * time.Second // for an agent to say when a session was last used
	// askPatience is how long a session whose lease has ended is kept while its agent cannot be asked: within it, an
	// instance that does not answer any more is lost.
	askPatience = 5 * time.Minute
)

// stillUsed asks the agent whether a command of a session that is to expire has run within its IdleTimeout, and if so
// renews the lease. A process that has ended may have started it, of which no other process knows.
func (p *Provider) stillUsed(ctx context.Context, id string) (bool, error) {
	r, err := p.find(ctx, id)
	if err != nil || r == nil || !expired(r, time.Now()) {
		return false, err
	}
	idle, err := p.idle(ctx, r)
	switch {
	case errors.Is(err, agent.ErrGone), errors.Is(err, agent.ErrUnknownSession), errors.Is(err, errors.ErrUnsupported):
		return false, nil
	case err != nil:
		p.failed("cannot ask whether a session is in use", err, "session", id, "instance", r.Instance)
		return time.Since(r.LeaseUntil) < askPatience, nil
	case idle >= r.IdleTimeout:
		return false, nil
	}
	return true, p.renewSince(ctx, r, time.Now().Add(-idle))
}

// idle returns how long a session has had no running command.
func (p *Provider) idle(ctx context.Context, r *store.Session) (time.Duration, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	inside, err := p.orch.Inside(ctx, r.Container)
	if err != nil {
		return 0, err
	}
	return inside.Idle(ctx, r.ID)
}

// using renews the session's lease for as long as a command of it runs: now, and from then on until the returned
// function is called, which renews it once more.
func (p *Provider) using(r *store.Session) (stop func()) {
	l := p.track(r.ID)
	l.mu.Lock()
	l.running++
	first := l.running == 1
	l.mu.Unlock()
	if first && r.IdleTimeout >= 0 {
		ctx, cancel := context.WithCancel(p.ctx)
		l.mu.Lock()
		l.stopRenewing = cancel
		l.mu.Unlock()
		p.loops.Go(func() { p.renewWhile(ctx, r) })
	}
	return func() {
		l.mu.Lock()
		l.running--
		var cancel context.CancelFunc
		if l.running == 0 {
			cancel, l.stopRenewing = l.stopRenewing, nil
		}
		l.mu.Unlock()
		if cancel != nil {
			cancel()
		}
		p.renewLogged(p.ctx, r)
	}
}

func (p *Provider) renewWhile(ctx context.Context, r *store.Session) {
	every := time.NewTicker(max(r.IdleTimeout/3, time.Millisecond))
	defer every.Stop()
	for {
		p.renewLogged(ctx, r)
		select {
		case <-ctx.Done():
			return
		case <-every.C:
		}
	}
}

func (p *Provider) renewLogged(ctx context.Context, r *store.Session) {
	err := p.renewSince(ctx, r, time.Now()) // leases only grow: while the one that was read last will do, nothing is read
	if err != nil && ctx.Err() == nil && !ended(err) {
		p.failed("cannot renew a lease", err, "session", r.ID, "instance", r.Instance)
	}
}

// ended reports whether an error says that a session is over.
func ended(err error) bool {
	for _, over := range []error{ErrSessionNotFound, ErrTerminated, ErrExpired, ErrInstanceLost, ErrContainerLost, ErrAbandoned} {
		if errors.Is(err, over) {
			return true
		}
	}
	return false
}
