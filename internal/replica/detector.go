package replica

import (
	"context"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/berth-go/berth/internal/lease"
	"github.com/berth-go/berth/store"
)

// detector finds the replicas that have died, by what this process has seen of their leases. It also works while another
// process plans: when that one dies, this process need not count the terms of the others from then on.
type detector struct {
	mu      sync.Mutex // protects watches
	watches map[string]*lease.Watch
}

// dead takes a look at a replica's lease into account, and reports whether the replica has not beaten for its whole term.
func (d *detector) dead(replica string, shown *store.Lease) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	watch := d.watches[replica]
	if watch == nil {
		watch = &lease.Watch{Term: Term}
		d.watches[replica] = watch
	}
	return watch.Dead(shown, time.Now())
}

func (d *detector) forget(replica string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.watches, replica)
}

// keep forgets all replicas but those that are wanted.
func (d *detector) keep(wanted func(replica string) bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	maps.DeleteFunc(d.watches, func(replica string, _ *lease.Watch) bool { return !wanted(replica) })
}

// owner is another replica, as its lease shows it.
type owner struct {
	id    string
	lease *store.Lease // nil = it has none
	dead  bool         // it has closed, or has not beaten for its whole term
}

// watchReplicas looks at the leases of the replicas that the pool's record lists. While this process plans, takeOver does.
func (r *Replica) watchReplicas(ctx context.Context, replicas []string) error {
	if r.Planner() != nil {
		return nil
	}
	for _, replica := range replicas {
		if replica == r.cfg.ID {
			continue
		}
		if _, err := r.lookAt(ctx, replica); err != nil {
			return err
		}
	}
	r.detector.keep(func(replica string) bool { return slices.Contains(replicas, replica) })
	return nil
}

func (r *Replica) lookAt(ctx context.Context, replica string) (*owner, error) {
	held, err := store.Read[*store.Lease](ctx, r.cfg.Store, store.LeaseKey(leaseID(replica)))
	if err != nil {
		return nil, err
	}
	shown := held
	if shown == nil { // a replica that has just started has no lease yet: its absence must last, too
		shown = &store.Lease{Holder: replica, Term: Term}
	}
	return &owner{id: replica, lease: held, dead: r.detector.dead(replica, shown)}, nil
}

// stillDead is a step of the transaction that takes something over. It reports whether the owner has not come back to life.
func (o *owner) stillDead(tx store.Tx) (bool, error) {
	now, err := store.Find[*store.Lease](tx, store.LeaseKey(leaseID(o.id)))
	if err != nil || now == nil || o.lease == nil {
		return err == nil && now == nil && o.lease == nil, err
	}
	return *now == *o.lease, nil
}
