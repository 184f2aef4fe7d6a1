package berth

import (
	"context"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// The states that somebody must lead out of.
var (
	unsettled          = []store.SessionState{store.SessionCreating, store.SessionTerminating}
	unsettledContainer = []store.ContainerState{store.ContainerStarting, store.ContainerStopping}
)

// tendLoop goes on with what this replica owns and nobody in it minds: the store failed it, another replica asked for
// the end of a session that is created here, or a dead replica's work was given to it.
func (p *Provider) tendLoop() {
	every(p.ctx, reapInterval, func() {
		ctx, err := p.tenure.await(p.ctx)
		if err != nil {
			return
		}
		if err := p.register(ctx); err != nil && ctx.Err() == nil {
			p.failed("cannot list this process among the pool's", err)
		}
		if err := p.tendSessions(ctx); err != nil && ctx.Err() == nil {
			p.failed("cannot look after this process's sessions", err)
		}
		if err := p.orch.Tend(ctx); err != nil && ctx.Err() == nil {
			p.failed("cannot look after this process's containers", err)
		}
	})
}

func (p *Provider) tendSessions(ctx context.Context) error {
	own := func(state store.SessionState) store.SessionQuery {
		return store.SessionQuery{Owner: p.replica, States: []store.SessionState{state}}
	}
	for s, err := range store.Sessions(ctx, p.store, own(store.SessionTerminating)) {
		if err != nil {
			return err
		}
		p.end(s.ID, s.End)
	}
	for s, err := range store.Sessions(ctx, p.store, own(store.SessionCreating)) {
		if err != nil {
			return err
		}
		if !p.beingCreated(s.ID) {
			p.end(s.ID, store.Failure{Reason: endAbandoned, Message: "its creation was cut off"})
		}
	}
	return nil
}

// takeOver gives this replica what replicas that died had begun: sessions that they were creating or ending, and
// containers that they were starting or stopping. It runs under the planner's lease.
func (r *reaper) takeOver(ctx context.Context) error {
	seen := make(map[string]*owner)
	look := func(replica string) (*owner, error) {
		o := seen[replica]
		if o != nil || replica == r.replica {
			return o, nil
		}
		o, err := r.lookAt(ctx, replica)
		seen[replica] = o
		return o, err
	}
	for s, err := range store.Sessions(ctx, r.store, store.SessionQuery{States: unsettled}) {
		if err != nil {
			return err
		}
		o, err := look(s.Owner)
		if err == nil && o != nil && o.dead {
			err = r.adoptSession(ctx, s, o)
		}
		if err != nil {
			return err
		}
	}
	for c, err := range store.Containers(ctx, r.store, store.ContainerQuery{States: unsettledContainer}) {
		if err != nil {
			return err
		}
		o, err := look(c.Owner)
		if err == nil && o != nil && o.dead {
			err = r.adoptContainer(ctx, c, o)
		}
		if err != nil {
			return err
		}
	}
	if err := r.reopen(ctx, look); err != nil {
		return err
	}
	if err := r.forgetDead(ctx, look); err != nil {
		return err
	}
	r.witness.keep(func(replica string) bool { return seen[replica] != nil })
	return nil
}

// adoptSession ends a session whose creator or ender is gone. Its secrets went with its creator: nobody can finish it.
func (r *reaper) adoptSession(ctx context.Context, s *store.Session, from *owner) error {
	why := store.Failure{Reason: endAbandoned, Message: "the process that created it ended"}
	adopted := false
	keys := []store.Key{s.Key(), store.LeaseKey(replicaLease(from.replica))}
	err := r.update(ctx, keys, func(tx store.Tx) error {
		adopted = false
		now, err := store.Find[*store.Session](tx, s.Key())
		if err != nil || now == nil || now.Owner != from.replica {
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
		now.Owner, adopted = r.replica, true
		return tx.Put(now)
	})
	if err == nil && adopted {
		r.end(s.ID, why)
	}
	return err
}

// adoptContainer makes a container, whose owner is gone, this replica's to remove. A start cannot be gone on with: the
// credential went with its owner. Those who wait for it start another.
func (r *reaper) adoptContainer(ctx context.Context, c *store.Container, from *owner) error {
	keys := []store.Key{c.Key(), store.LeaseKey(replicaLease(from.replica))}
	return r.update(ctx, keys, func(tx store.Tx) error {
		now, err := store.Find[*store.Container](tx, c.Key())
		if err != nil || now == nil || now.Owner != from.replica {
			return err
		}
		if dead, err := from.stillDead(tx); err != nil || !dead {
			return err
		}
		switch now.State {
		case store.ContainerStarting:
			now.State, now.Since = store.ContainerStopping, time.Now()
		case store.ContainerStopping:
		default:
			return nil
		}
		now.Owner = r.replica // whose tendLoop sees to the rest
		return tx.Put(now)
	})
}

// reopen undoes what is left of a Destroy whose process is gone, if no other one goes on with it: whoever begins to use
// the pool after that means to use it, and cannot know that it was being destroyed.
func (r *reaper) reopen(ctx context.Context, look func(string) (*owner, error)) error {
	record, err := r.poolRecord(ctx)
	if err != nil {
		return err
	}
	for _, replica := range record.Destroyers {
		o, err := look(replica)
		if err == nil && o != nil && o.dead {
			err = r.forgetDestroyer(ctx, o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func (r *reaper) forgetDestroyer(ctx context.Context, o *owner) error {
	opened := false
	keys := []store.Key{store.PoolKey(), store.LeaseKey(replicaLease(o.replica))}
	err := r.update(ctx, keys, func(tx store.Tx) error {
		opened = false
		record, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil || !slices.Contains(record.Destroyers, o.replica) {
			return err
		}
		if dead, err := o.stillDead(tx); err != nil || !dead {
			return err
		}
		record.Destroyers = slices.DeleteFunc(record.Destroyers, func(id string) bool { return id == o.replica })
		if opened = len(record.Destroyers) == 0; opened {
			record.Closed, record.Draining = false, false
		}
		return tx.Put(record)
	})
	if err == nil && opened {
		r.cfg.Logger.Warn("a process ended while it was destroying the pool: what is left of the pool goes on", "replica", o.replica)
		r.pool.Wake()
	}
	return err
}
