package orchestrator

import (
	"context"
	"time"

	"github.com/berth-go/berth/store"
)

// strayTimeout bounds how long a container's first user in a process waits until strays are gone: killing is quick,
// removing a large checkout is not.
const strayTimeout = 2 * time.Minute

// reconcile compares the sessions that are open in a container with those that the store has there. They differ when
// the store was set back to a backup, or when a checkout was on its way while its process was taken for dead and then
// died. A session that only the store has cannot be worked in, and is ended; one that only the container has holds a uid
// that the store takes for free, and is closed. A failure is logged: what is left is in nobody's way but for that uid.
func (m *Manager) reconcile(ctx context.Context, c *store.Container, inside Inside) {
	ctx, cancel := context.WithTimeout(ctx, strayTimeout)
	defer cancel()
	err := func() error {
		active, err := m.active(ctx, c) // before the container is asked: these have been opened in it
		if err != nil {
			return err
		}
		open, err := inside.Sessions(ctx)
		if err != nil {
			return err
		}
		for _, id := range active {
			if _, there := open[id]; !there {
				m.cfg.EndSession(*c, id)
			}
		}
		if len(open) == 0 {
			return nil
		}
		strays, err := m.strays(ctx, c, open)
		if err != nil || len(strays) == 0 {
			return err
		}
		// One that has ended was closed before. If it is open still, that is not what the first look has seen.
		if open, err = inside.Sessions(ctx); err != nil {
			return err
		}
		for _, id := range strays {
			uid, there := open[id]
			if !there {
				continue
			}
			m.cfg.Logger.Warn("closing a session that nobody knows", "session", id, "container", c.Name, "instance", c.Instance)
			if err := inside.CloseSession(ctx, id, uid); err != nil {
				return err
			}
		}
		return nil
	}()
	if err != nil && ctx.Err() == nil {
		m.failed("cannot compare a container's sessions with the store's", err, "container", c.Name, "instance", c.Instance)
	}
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

// strays returns those of the open sessions that the store does not have in a container. Every session is stored before
// its checkout is made.
func (m *Manager) strays(ctx context.Context, c *store.Container, open map[string]int) (strays []string, err error) {
	err = m.cfg.Store.View(ctx, func(v store.View) error {
		strays = nil
		for id := range open {
			s, err := store.Find[*store.Session](v, store.SessionKey(id))
			if err != nil {
				return err
			}
			if s == nil || s.State == store.SessionEnded || s.Container != c.ID {
				strays = append(strays, id)
			}
		}
		return nil
	})
	return strays, err
}
