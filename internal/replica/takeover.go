package replica

import (
	"context"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// The states that some replica must lead out of.
var (
	unsettled          = []store.SessionState{store.SessionCreating, store.SessionTerminating}
	unsettledContainer = []store.ContainerState{store.ContainerStarting, store.ContainerStopping}
)

// takeOver makes this process the owner of what dead replicas had begun: the sessions that they were creating or ending,
// and the containers that they were starting or stopping.
func (l *leader) takeOver(ctx context.Context) error {
	r := &round{leader: l, seen: make(map[string]*owner)}
	for s, err := range store.Sessions(ctx, l.store, store.SessionQuery{States: unsettled}) {
		if err == nil {
			err = r.ifDead(ctx, s.Owner, func(from *owner) error { return l.adoptSession(ctx, s, from) })
		}
		if err != nil {
			return err
		}
	}
	for c, err := range store.Containers(ctx, l.store, store.ContainerQuery{States: unsettledContainer}) {
		if err == nil {
			err = r.ifDead(ctx, c.Owner, func(from *owner) error { return l.adoptContainer(ctx, c, from) })
		}
		if err != nil {
			return err
		}
	}
	pool, err := store.ReadPool(ctx, l.store)
	if err != nil {
		return err
	}
	for _, replica := range pool.Destroyers {
		err := r.ifDead(ctx, replica, func(o *owner) error { return l.forgetDestroyer(ctx, o) })
		if err != nil {
			return err
		}
	}
	for _, replica := range pool.Replicas {
		err := r.ifDead(ctx, replica, func(o *owner) error { return l.forgetDead(ctx, o) })
		if err != nil {
			return err
		}
	}
	l.detector.keep(func(replica string) bool { return r.seen[replica] != nil })
	return nil
}

// round is one round of takeOver. It looks at each replica once.
type round struct {
	*leader
	seen map[string]*owner
}

// ifDead calls do if a replica, other than this process, is dead.
func (r *round) ifDead(ctx context.Context, replica string, do func(*owner) error) error {
	if replica == r.cfg.ID {
		return nil
	}
	o := r.seen[replica]
	if o == nil {
		var err error
		if o, err = r.lookAt(ctx, replica); err != nil {
			return err
		}
		r.seen[replica] = o
	}
	if !o.dead {
		return nil
	}
	return do(o)
}

// adoptSession ends a session whose creator or ender is dead. The session's secrets went with its creator: no other
// process can finish its creation.
func (l *leader) adoptSession(ctx context.Context, s *store.Session, from *owner) error {
	why := store.Failure{Reason: store.EndAbandoned, Message: "the process that created it ended"}
	adopted := false
	keys := []store.Key{s.Key(), store.LeaseKey(leaseID(from.id))}
	err := l.store.Update(ctx, keys, func(tx store.Tx) error {
		adopted = false
		now, err := store.Find[*store.Session](tx, s.Key())
		if err != nil || now == nil || now.Owner != from.id {
			return err
		}
		if dead, err := from.stillDead(tx); err != nil || !dead {
			return err
		}
		switch now.State {
		case store.SessionCreating:
			now.State, now.End = store.SessionTerminating, why
		case store.SessionTerminating:
		default: // active: its creator lived long enough
			return nil
		}
		now.Owner, adopted = l.cfg.ID, true
		return tx.Put(now)
	})
	if err == nil && adopted {
		l.cfg.Sessions.BeginEnd(s.ID, why)
	}
	return err
}

// adoptContainer makes this process the one that removes a container whose owner is dead. The start of a container cannot
// be continued: the credential went with its owner. The sessions that wait for it start another.
func (l *leader) adoptContainer(ctx context.Context, c *store.Container, from *owner) error {
	keys := []store.Key{c.Key(), store.LeaseKey(leaseID(from.id))}
	return l.store.Update(ctx, keys, func(tx store.Tx) error {
		now, err := store.Find[*store.Container](tx, c.Key())
		if err != nil || now == nil || now.Owner != from.id {
			return err
		}
		if dead, err := from.stillDead(tx); err != nil || !dead {
			return err
		}
		switch now.State {
		case store.ContainerStarting:
			if err := store.UnlistEmpty(tx, now.Instance, now.ID); err != nil {
				return err
			}
			now.State, now.Since = store.ContainerStopping, time.Now()
		case store.ContainerStopping:
		default:
			return nil
		}
		now.Owner = l.cfg.ID // whose orchestrator resumes what it owns
		return tx.Put(now)
	})
}

// forgetDestroyer undoes an unfinished Destroy whose process is dead, if no other process continues it. A process that
// begins to use the pool afterwards means to use it, and cannot know that it was being destroyed.
func (l *leader) forgetDestroyer(ctx context.Context, o *owner) error {
	opened := false
	keys := []store.Key{store.PoolKey(), store.LeaseKey(leaseID(o.id))}
	err := l.store.Update(ctx, keys, func(tx store.Tx) error {
		opened = false
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil || !slices.Contains(pool.Destroyers, o.id) {
			return err
		}
		if dead, err := o.stillDead(tx); err != nil || !dead {
			return err
		}
		pool.Destroyers = slices.DeleteFunc(pool.Destroyers, func(id string) bool { return id == o.id })
		if opened = len(pool.Destroyers) == 0; opened {
			pool.Closed, pool.Draining = false, false
		}
		return tx.Put(pool)
	})
	if err == nil && opened {
		l.cfg.Logger.Warn("a process ended while it was destroying the pool: the rest of the pool continues", "replica", o.id)
		l.cfg.WakePool()
	}
	return err
}

// forgetDead removes the lease of a replica that has died and has left nothing behind. A replica that comes back takes a
// lease that may look like the removed one, so the detector forgets that, too.
func (l *leader) forgetDead(ctx context.Context, o *owner) error {
	owns, err := l.owns(ctx, o.id)
	if err != nil || owns {
		return err
	}
	l.detector.forget(o.id)
	return l.forget(ctx, l.store, o)
}
