package berth

import (
	"context"
	"time"

	"github.com/berth-go/berth/store"
)

// reapInterval is how often the reaper looks.
const reapInterval = time.Second

// reaper ends what nobody else ends: sessions whose lease ran out, and what replicas that died have begun. It also
// removes the records of sessions that ended long ago. It works under the planner's lease.
type reaper struct {
	*Provider
	held  store.Lease
	ruled bool // this process's settings are on the pool's record
}

// update is an Update that fails once the lease has passed to somebody else.
func (r *reaper) update(ctx context.Context, keys []store.Key, fn func(tx store.Tx) error) error {
	return r.store.Update(ctx, append(keys, r.held.Key()), func(tx store.Tx) error {
		if err := store.CheckFence(tx, r.held); err != nil {
			return err
		}
		return fn(tx)
	})
}

func (r *reaper) loop(ctx context.Context) {
	every(ctx, reapInterval, func() {
		for _, step := range []struct {
			what string
			do   func(context.Context) error
		}{
			{"cannot write down the pool's settings", r.rule},
			{"cannot end sessions that expired", r.expire},
			{"cannot remove old sessions", r.removeOld},
			{"cannot end the sessions of lost instances", r.endLost},
			{"cannot take over from dead replicas", r.takeOver},
		} {
			if err := step.do(ctx); err != nil && ctx.Err() == nil {
				r.failed(step.what, err)
			}
		}
	})
}

// expire ends the sessions whose lease ran out. What marks them checks the fence: see markTerminating.
func (r *reaper) expire(ctx context.Context) error {
	due, err := r.sessions(ctx, store.SessionQuery{LeaseBefore: time.Now(), Page: store.Page{Limit: store.MaxLimit}})
	for _, s := range due {
		r.end(s.ID, store.Failure{Reason: endExpired})
	}
	return err
}

// removeOld removes the records of sessions that ended longer ago than they are kept.
func (r *reaper) removeOld(ctx context.Context) error {
	for {
		old, err := r.sessions(ctx, store.SessionQuery{
			EndedBefore: time.Now().Add(-r.cfg.SessionRetention), Page: store.Page{Limit: store.MaxLimit},
		})
		if err != nil || len(old) == 0 {
			return err
		}
		keys := make([]store.Key, len(old))
		for i, s := range old {
			keys[i] = s.Key()
		}
		err = r.update(ctx, keys, func(tx store.Tx) error {
			for _, k := range keys {
				if err := tx.Delete(k); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}

// endLost ends the sessions of instances that are lost, in case the one who lost them could not.
func (r *reaper) endLost(ctx context.Context) error {
	var lost []*store.Instance
	err := r.store.View(ctx, func(v store.View) (err error) {
		lost, err = v.Instances(store.InstanceQuery{States: []store.InstanceState{store.InstanceLost}})
		return err
	})
	for _, in := range lost {
		if in.Sessions > 0 {
			r.endInstance(*in)
		}
	}
	return err
}
