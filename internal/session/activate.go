package session

import (
	"context"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/store"
)

// phasesOf returns the phases of a session's start, from its own and those of its container. They are cut to what stores keep.
func phasesOf(c *store.Container, kind store.StartKind, own store.Phases) store.Phases {
	all := own
	if kind != store.StartAttached {
		all.Pull, all.Create, all.Fetch = c.Phases.Pull, c.Phases.Create, c.Phases.Fetch+own.Fetch
	}
	for _, d := range []*time.Duration{&all.Pull, &all.Create, &all.Fetch, &all.Checkout} {
		*d = d.Truncate(time.Microsecond)
	}
	return all
}

// activate marks a session active. agent.ErrGone: its container is not ready any more. ErrTerminated, ErrRevoked: the
// session is being ended.
func (m *Manager) activate(ctx context.Context, s *store.Session, checkout agent.Checkout, phases store.Phases) (Placed, error) {
	var active *store.Session
	var in *store.Instance
	begun := time.Now()
	keys := []store.Key{s.Key(), store.ContainerKey(s.Container), store.InstanceKey(s.Instance)}
	err := m.cfg.Retry.Update(ctx, keys, func(tx store.Tx) (err error) {
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
			return errs.NotCreating(active)
		}
		c, err := store.Find[*store.Container](tx, store.ContainerKey(s.Container))
		if err != nil {
			return err
		}
		if c == nil || c.State != store.ContainerReady {
			return agent.ErrGone
		}
		active.State, active.EngineID, active.Start = store.SessionActive, c.EngineID, s.Start
		active.Workdir, active.CheckedOut, active.Commit = checkout.Workdir, checkout.Branch, checkout.Commit
		active.Restored = s.Restored
		active.Phases = phasesOf(c, s.Start, phases)
		active.Took = max(time.Since(active.CreatedAt)-active.Waited, time.Microsecond).Truncate(time.Microsecond)
		active.LeaseUntil, active.Beat = leaseUntil(active.IdleTimeout, time.Now()), active.Beat+1
		return tx.Put(active)
	})
	if err != nil {
		return Placed{}, err
	}
	m.observed.wrote(active.ID, active.Beat, begun, time.Now())
	m.count.started(active.Start)
	m.cfg.Events.Active(active)
	return Placed{Session: active, Instance: in}, nil
}
