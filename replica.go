package berth

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berth-go/berth/internal/lease"
	"github.com/berth-go/berth/store"
)

// replicaLease is the ID of the lease that says that a replica lives.
func replicaLease(replica string) string { return "replica/" + replica }

// register lists this process on the pool's record, so that its lease can be found, and removed, after its death.
func (p *Provider) register(ctx context.Context) error {
	if p.registered.Load() {
		return nil
	}
	err := p.store.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
		record, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil || slices.Contains(record.Replicas, p.replica) {
			return err
		}
		record.Replicas = append(record.Replicas, p.replica)
		return tx.Put(record)
	})
	p.registered.Store(err == nil)
	return err
}

// resign removes this process's lease when it owns nothing any more: nobody will ask whether it lives.
func (p *Provider) resign() {
	ctx, cancel := context.WithTimeout(context.Background(), closeGrace)
	defer cancel()
	owns, err := p.owns(ctx, p.replica)
	if err == nil && !owns {
		err = p.forget(ctx, &owner{replica: p.replica})
	}
	if err != nil { // another one does it, when it sees that this one has died
		p.cfg.Logger.Warn("cannot remove this process's lease", "err", err)
	}
}

// forgetDead removes the leases of replicas that have died and left nothing behind. One that comes back takes a lease
// that may look like the one that was removed, so what was seen of that is forgotten, too.
func (r *reaper) forgetDead(ctx context.Context, look func(string) (*owner, error)) error {
	record, err := r.poolRecord(ctx)
	if err != nil {
		return err
	}
	for _, replica := range record.Replicas {
		o, err := look(replica)
		if err != nil {
			return err
		}
		if o == nil || !o.dead {
			continue
		}
		owns, err := r.owns(ctx, replica)
		if err == nil && !owns {
			r.witness.forget(replica)
			err = r.forget(ctx, o)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// owns reports whether a replica has anything begun that it has not brought to its end.
func (p *Provider) owns(ctx context.Context, replica string) (owns bool, err error) {
	one := store.Page{Limit: 1}
	err = p.store.View(ctx, func(v store.View) error {
		sessions, err := v.Sessions(store.SessionQuery{Owner: replica, States: unsettled, Page: one})
		if err != nil {
			return err
		}
		containers, err := v.Containers(store.ContainerQuery{Owner: replica, States: unsettledContainer, Page: one})
		owns = len(sessions)+len(containers) > 0
		return err
	})
	return owns, err
}

// forget removes a replica's lease, unless it is another's and that has come back to life.
func (p *Provider) forget(ctx context.Context, o *owner) error {
	key := store.LeaseKey(replicaLease(o.replica))
	return p.store.Update(ctx, []store.Key{store.PoolKey(), key}, func(tx store.Tx) error {
		if o.replica != p.replica {
			if dead, err := o.stillDead(tx); err != nil || !dead {
				return err
			}
		}
		record, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		record.Replicas = slices.DeleteFunc(record.Replicas, func(r string) bool { return r == o.replica })
		if err := tx.Put(record); err != nil {
			return err
		}
		return tx.Delete(key)
	})
}

// owner is another replica, as its lease shows it.
type owner struct {
	replica string
	lease   *store.Lease // nil = there is none
	dead    bool         // it has closed, or has not beaten for its whole term
}

// witness is what this process has seen of the other replicas' leases. It looks on also while another one plans: when
// that dies, the term of what it leaves behind is not counted from its end only.
type witness struct {
	mu      sync.Mutex // protects watches
	watches map[string]*lease.Watch
}

// dead takes a look at a replica's lease into account, and reports whether it has not beaten for its whole term.
func (w *witness) dead(replica string, shown *store.Lease) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	watch := w.watches[replica]
	if watch == nil {
		watch = &lease.Watch{Term: replicaTerm}
		w.watches[replica] = watch
	}
	return watch.Dead(shown, time.Now())
}

func (w *witness) forget(replica string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.watches, replica)
}

// keep forgets all but those that are of interest.
func (w *witness) keep(interesting func(replica string) bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	maps.DeleteFunc(w.watches, func(replica string, _ *lease.Watch) bool { return !interesting(replica) })
}

// lookOn looks at the replicas on the pool's record, unless this process plans and does so more often.
func (p *Provider) lookOn(ctx context.Context, replicas []string) error {
	if p.plans.Load() != nil {
		return nil
	}
	for _, replica := range replicas {
		if replica == p.replica {
			continue
		}
		if _, err := p.lookAt(ctx, replica); err != nil {
			return err
		}
	}
	p.witness.keep(func(replica string) bool { return slices.Contains(replicas, replica) })
	return nil
}

func (p *Provider) lookAt(ctx context.Context, replica string) (*owner, error) {
	o := &owner{replica: replica}
	err := p.store.View(ctx, func(v store.View) (err error) {
		o.lease, err = store.Find[*store.Lease](v, store.LeaseKey(replicaLease(replica)))
		return err
	})
	if err != nil {
		return o, err
	}
	shown := o.lease
	if shown == nil { // a replica that is just being born has no lease yet: its absence must last, too
		shown = &store.Lease{Holder: replica, Term: replicaTerm}
	}
	o.dead = p.witness.dead(replica, shown)
	return o, nil
}

// stillDead is a step of the transaction that takes something over: the owner has not come back to life meanwhile.
func (o *owner) stillDead(tx store.Tx) (bool, error) {
	now, err := store.Find[*store.Lease](tx, store.LeaseKey(replicaLease(o.replica)))
	if err != nil || now == nil || o.lease == nil {
		return err == nil && now == nil && o.lease == nil, err
	}
	return *now == *o.lease, nil
}
