package replica

import (
	"context"
	"crypto/rand"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// leaseID is the ID of the lease that says that a replica lives.
func leaseID(replica string) string { return "replica/" + replica }

// OpenPool returns the pool's record, and makes it if there is none. It opens a pool that was destroyed again. It lists
// the replica of that ID, if there is one, on the record, before that takes its lease: so the lease is found and removed
// if the process dies.
func OpenPool(ctx context.Context, st store.Store, id string) (p *store.Pool, err error) {
	err = st.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) (err error) {
		p, err = store.Find[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		if p == nil {
			p = &store.Pool{UID: strings.ToLower(rand.Text())}
		}
		if p.Draining && p.Instances == 0 && len(p.Destroyers) == 0 { // a Destroy has done its work
			p.Closed, p.Draining = false, false
		}
		if id != "" && !slices.Contains(p.Replicas, id) {
			p.Replicas = append(p.Replicas, id)
		}
		return tx.Put(p)
	})
	return p, err
}

// stayListed lists this process on the pool's record again if a planner has taken it for dead.
func (r *Replica) stayListed(ctx context.Context) {
	loop.Every(ctx, listInterval, func() {
		acting, err := r.Acting(ctx)
		if err != nil {
			return
		}
		if err := r.list(acting); err != nil && acting.Err() == nil {
			r.cfg.Failures.Report("cannot list this process among the pool's", err)
		}
	})
}

func (r *Replica) list(ctx context.Context) error {
	if r.listed.Load() {
		return nil
	}
	err := r.cfg.Store.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil || slices.Contains(pool.Replicas, r.cfg.ID) {
			return err
		}
		pool.Replicas = append(pool.Replicas, r.cfg.ID)
		return tx.Put(pool)
	})
	r.listed.Store(err == nil)
	return err
}

// Resign removes this process's lease if it owns nothing any more: no process will ask whether it lives. It takes at most
// the time that patience gives.
func (r *Replica) Resign(patience time.Duration) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	owns, err := r.owns(ctx, r.cfg.ID)
	if err == nil && !owns {
		err = r.forget(ctx, r.cfg.Store, &owner{id: r.cfg.ID})
	}
	if err != nil { // another process removes it when it finds that this one has died
		r.cfg.Logger.Warn("cannot remove this process's lease", "err", err)
	}
}

// owns reports whether a replica has begun anything that it has not finished.
func (r *Replica) owns(ctx context.Context, replica string) (owns bool, err error) {
	one := store.Page{Limit: 1}
	err = r.cfg.Store.View(ctx, func(v store.View) error {
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

// forget removes a replica's lease, unless it is another's that has come back to life.
func (r *Replica) forget(ctx context.Context, st store.Store, o *owner) error {
	key := store.LeaseKey(leaseID(o.id))
	return st.Update(ctx, []store.Key{store.PoolKey(), key}, func(tx store.Tx) error {
		if o.id != r.cfg.ID {
			if dead, err := o.stillDead(tx); err != nil || !dead {
				return err
			}
		}
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		pool.Replicas = slices.DeleteFunc(pool.Replicas, func(id string) bool { return id == o.id })
		if err := tx.Put(pool); err != nil {
			return err
		}
		return tx.Delete(key)
	})
}
