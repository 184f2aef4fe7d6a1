package pool

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-go/berth/store"
)

// An operator's wish for an instance is written down by any process, and carried out by the planner. HasSlot heeds it at once, so
// that no session comes to an instance of which that is not wanted, even while no process plans.

// ErrState says that an instance is not in a state in which an operator's wish for it makes sense: it starts, it ends, or it is
// gone.
var ErrState = errors.New("the instance is in another state")

// held reports whether an operator keeps an instance cordoned. The planner leaves it as it is.
func held(in *store.Instance) bool {
	return in.Wish == store.WishCordon && !in.Drain && in.State == store.InstanceCordoned
}

// planWish carries out what an operator wishes for an instance that is ready or cordoned. The zero action means that there is
// nothing to do.
func planWish(in *store.Instance) action {
	outlook := Outlook(in.Outlook)
	switch {
	case in.Drain:
	case in.Wish == store.WishDrain:
		return action{verb: doDrain, outlook: outlook, reason: in.WishReason}
	case in.Wish == store.WishCordon && in.State == store.InstanceReady:
		return action{verb: doCordon, outlook: outlook, reason: in.WishReason}
	case in.Wish == store.WishUncordon && in.State == store.InstanceCordoned:
		return action{verb: doUncordon}
	}
	return action{}
}

// Cordon keeps new sessions off an instance that serves, until Uncordon. Those that it has stay, and it stays when they have
// ended. The planner counts none of its free slots. Any process of the pool may call it, and the planner changes the state. ErrState: the
// instance is neither ready nor cordoned, or it is drained.
func (m *Manager) Cordon(ctx context.Context, instance, reason string) error {
	return m.wish(ctx, instance, store.WishCordon, func(in *store.Instance) bool {
		in.Wish, in.WishReason = store.WishCordon, reason
		return true
	})
}

// Drain is Cordon for good: the instance ends when its sessions have ended, and another replaces it if it is needed.
func (m *Manager) Drain(ctx context.Context, instance, reason string) error {
	return m.wish(ctx, instance, store.WishDrain, func(in *store.Instance) bool {
		in.Wish, in.WishReason = store.WishDrain, reason
		return true
	})
}

// Uncordon lets sessions come to an instance again, after Cordon. To uncordon an instance that takes sessions succeeds.
// ErrState: no operator has cordoned the instance, or it is drained.
func (m *Manager) Uncordon(ctx context.Context, instance string) error {
	return m.wish(ctx, instance, store.WishUncordon, func(in *store.Instance) bool {
		ready := in.State == store.InstanceReady
		switch {
		case ready:
			in.Wish, in.WishReason = "", ""
		case !ready && (in.Wish == store.WishCordon || in.Wish == store.WishUncordon):
			in.Wish, in.WishReason = store.WishUncordon, ""
		default:
			return false
		}
		return true
	})
}

// wish writes down an operator's wish, and wakes the planner, whichever process that is. change may run again after it was
// committed.
func (m *Manager) wish(ctx context.Context, id string, what store.Wish, change func(*store.Instance) bool) error {
	retry := store.Retry{Store: m.cfg.Store, Report: func(err error, _ []store.Key) {
		m.cfg.Logger.Warn("the store does not say whether it has written; trying again", "instance", id, "err", err)
	}}
	err := retry.Update(ctx, []store.Key{store.PoolKey(), store.InstanceKey(id)}, func(tx store.Tx) error {
		in, err := store.Find[*store.Instance](tx, store.InstanceKey(id))
		switch {
		case err != nil:
			return err
		case in == nil:
			return fmt.Errorf("%w: it is gone", ErrState)
		case (in.Drain || in.Wish == store.WishDrain) && what != store.WishDrain:
			return fmt.Errorf("%w: it is drained", ErrState)
		case in.State != store.InstanceReady && in.State != store.InstanceCordoned || !change(in):
			return fmt.Errorf("%w: it is %s", ErrState, in.State)
		}
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		pool.Wishes++
		if err := tx.Put(pool); err != nil {
			return err
		}
		return tx.Put(in)
	})
	if err != nil {
		return fmt.Errorf("cannot %s instance %s: %w", what, id, err)
	}
	m.cfg.Logger.Info("an operator wishes something for an instance", "instance", id, "wish", string(what))
	m.Wake()
	return nil
}
