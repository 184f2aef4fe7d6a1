package orchestrator

import (
	"context"
	"time"

	"github.com/berth-go/berth/store"
)

// reconcileTimeout bounds how long the first user of a container in a process waits for reconcile. Killing is quick, but
// removing a large checkout is not.
const reconcileTimeout = 2 * time.Minute

// reconcile makes the sessions that are open in a container those that the store has there. They differ when the store
// was set back to a backup. They also differ when a process was taken for dead while it made a checkout, and then died.
// A session that only the store has cannot be worked in, and is ended. A session that only the container has holds a uid
// that the store takes for free, and is closed.
//
// A failure is logged. A session that is left behind then does no harm, except that it holds its uid.
func (m *Manager) reconcile(ctx context.Context, c *store.Container, inside Inside) {
	ctx, cancel := context.WithTimeout(ctx, reconcileTimeout)
	defer cancel()
	open, err := m.endAbsent(ctx, c, inside)
	if err == nil && len(open) > 0 {
		err = m.closeUnknown(ctx, c, inside, open)
	}
	if err != nil && ctx.Err() == nil {
		m.failures.Report("cannot compare a container's sessions with the store's", err, "container", c.Name, "instance", c.Instance)
	}
}

// endAbsent ends the active sessions of a container that are not open in it, and returns those that are open.
func (m *Manager) endAbsent(ctx context.Context, c *store.Container, inside Inside) (open map[string]int, err error) {
	active, err := m.active(ctx, c) // before the container is asked: these have been opened in it
	if err != nil {
		return nil, err
	}
	open, err = inside.Sessions(ctx)
	if err != nil {
		return nil, err
	}
	for _, id := range active {
		if _, there := open[id]; !there {
			m.cfg.Sessions.EndSession(*c, id, nil)
		}
	}
	return open, nil
}

// closeUnknown closes those of the open sessions of a container that the store does not have in it.
func (m *Manager) closeUnknown(ctx context.Context, c *store.Container, inside Inside, open map[string]int) error {
	unknown, err := m.unknownSessions(ctx, c, open)
	if err != nil || len(unknown) == 0 {
		return err
	}
	// A session is closed before its record says that it has ended. So if one that has ended was open at the first look,
	// it is not open at the second, unless its close was missed.
	if open, err = inside.Sessions(ctx); err != nil {
		return err
	}
	for _, id := range unknown {
		uid, there := open[id]
		if !there {
			continue
		}
		m.cfg.Logger.Warn("closing a session that the store does not have", "session", id, "container", c.Name, "instance", c.Instance)
		if err := inside.CloseSession(ctx, id, uid); err != nil {
			return err
		}
	}
	return nil
}

// active returns the IDs of the sessions that are active in a container by the store.
func (m *Manager) active(ctx context.Context, c *store.Container) (ids []string, err error) {
	q := store.SessionQuery{Container: c.ID, States: []store.SessionState{store.SessionActive}}
	for s, err := range store.Sessions(ctx, m.cfg.Store, q) {
		if err != nil {
			return nil, err
		}
		ids = append(ids, s.ID)
	}
	return ids, nil
}

// unknownSessions returns those of the open sessions that the store does not have in a container. Every session is
// stored before its checkout is made.
func (m *Manager) unknownSessions(ctx context.Context, c *store.Container, open map[string]int) (unknown []string, err error) {
	err = m.cfg.Store.View(ctx, func(v store.View) error {
		unknown = nil
		for id := range open {
			s, err := store.Find[*store.Session](v, store.SessionKey(id))
			if err != nil {
				return err
			}
			if s == nil || s.State == store.SessionEnded || s.Container != c.ID {
				unknown = append(unknown, id)
			}
		}
		return nil
	})
	return unknown, err
}
