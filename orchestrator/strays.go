package orchestrator

import (
	"context"
	"time"

	"github.com/berth-go/berth/store"
)

// strayTimeout bounds how long a container's first user in a process waits until strays are gone: killing is quick,
// removing a large checkout is not.
const strayTimeout = 2 * time.Minute

// closeStrays closes the sessions that are open in a container and that the store does not have there: their checkout was
// on its way when their process was taken for dead and then died, or the store was set back to a backup. Each holds a
// uid that the store takes for free. A failure is logged: what is left is in nobody's way but for that uid.
func (m *Manager) closeStrays(ctx context.Context, c *store.Container, inside Inside) {
	ctx, cancel := context.WithTimeout(ctx, strayTimeout)
	defer cancel()
	err := func() error {
		open, err := inside.Sessions(ctx)
		if err != nil || len(open) == 0 {
			return err
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
		m.failed("cannot close sessions that nobody knows", err, "container", c.Name, "instance", c.Instance)
	}
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
