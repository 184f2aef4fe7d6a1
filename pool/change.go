package pool

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// change takes the steps that only change an instance's record. The record is looked at again: a session may have
// come since the plan was made.
func (r *run) change(ctx context.Context, a action) error {
	return r.modify(ctx, a, func(in *store.Instance, now time.Time) bool {
		switch a.verb {
		case doAdopt:
			if in.State == store.InstanceLaunching {
				in.CloudID, in.Address = a.cloudID, a.address
				in.Frozen = nil // nobody repeats the launch, and each session that comes or goes writes the record
			}
			return become(in, now, store.InstanceBooting, "", store.InstanceLaunching)
		case doLocate:
			moved := in.Address != a.address
			in.Address = a.address
			return moved
		case doReady:
			in.IdleSince = now
			return become(in, now, store.InstanceReady, "", store.InstanceBooting)
		case doCordon:
			in.Outlook = string(a.outlook)
			return (in.Sessions == 0 || in.Drain || a.outlook != "") &&
				become(in, now, store.InstanceCordoned, a.reason, store.InstanceReady)
		case doDrain:
			in.Drain, in.Outlook = true, string(a.outlook)
			return become(in, now, store.InstanceCordoned, a.reason, store.InstanceReady, store.InstanceCordoned)
		case doUncordon:
			in.Outlook = ""
			if in.Sessions == 0 {
				in.IdleSince = now
			}
			return !in.Drain && become(in, now, store.InstanceReady, "", store.InstanceCordoned)
		case doRetire:
			return in.Sessions == 0 && become(in, now, store.InstanceTerminating, a.reason,
				store.InstanceLaunching, store.InstanceBooting, store.InstanceCordoned)
		case doLose:
			return become(in, now, store.InstanceLost, a.reason, store.InstanceReady, store.InstanceCordoned)
		}
		return false
	})
}

// become moves an instance from one of some states to another, and reports whether it was in one of them.
func become(in *store.Instance, now time.Time, to store.InstanceState, reason string, from ...store.InstanceState) bool {
	if !slices.Contains(from, in.State) {
		return false
	}
	in.State, in.Since, in.Reason = to, now, reason
	return true
}

// modify changes an instance, and the pool's count of failed launches with it, in one transaction; then it says so. fn
// reports whether it has changed the record.
func (r *run) modify(ctx context.Context, a action, fn func(in *store.Instance, now time.Time) bool) error {
	var changed *store.Instance
	now := time.Now().Truncate(time.Microsecond) // as stores keep it: see below
	keys := []store.Key{store.InstanceKey(a.instance)}
	if a.failed || a.verb == doReady {
		keys = append(keys, store.PoolKey())
	}
	err := r.update(ctx, keys, func(tx store.Tx) error {
		changed = nil
		in, err := store.Find[*store.Instance](tx, store.InstanceKey(a.instance))
		if err != nil || in == nil || !fn(in, now) {
			return err
		}
		if len(keys) > 1 {
			if err := countLaunch(tx, a.failed, in.Reason, now); err != nil {
				return err
			}
		}
		changed = in
		return tx.Put(in)
	})
	if errors.Is(err, store.ErrUnknownOutcome) {
		// Look: a change that nobody is told of would go unnoticed. If it did not happen, it is planned again.
		is, lookErr := r.instance(ctx, a.instance)
		if lookErr == nil && is != nil && changed != nil && is.State == changed.State && is.Since.Equal(changed.Since) {
			err = nil
		}
	}
	if err != nil {
		r.failed(ctx, "cannot store a change of an instance", err, "instance", a.instance, "change", string(a.verb))
		return err
	}
	if changed != nil {
		r.changed(a, changed)
	}
	return nil
}

// changed counts and reports a change that was stored.
func (r *run) changed(a action, in *store.Instance) {
	switch {
	case a.failed:
		r.failures.Add(1)
		r.cfg.Logger.Warn("a launch failed", "instance", in.ID, "machine", in.CloudID, "reason", in.Reason)
	case a.verb == doAdopt:
		r.launches.Add(1)
	case a.verb == doDrain && a.outlook == OutlookInterrupted:
		r.interruptions.Add(1)
		r.cfg.Logger.Warn("the cloud takes an instance back", "instance", in.ID, "machine", in.CloudID,
			"sessions", in.Sessions, "reason", in.Reason)
	case a.verb == doLose:
		r.lost.Add(1)
		r.cfg.Logger.Warn("an instance is lost", "instance", in.ID, "machine", in.CloudID, "reason", in.Reason)
	default:
		r.cfg.Logger.Info("an instance changed", "instance", in.ID, "state", string(in.State), "reason", in.Reason)
	}
	if a.verb != doLocate { // its state is the same
		r.cfg.OnChange(*in)
	}
	r.Wake()
}

// countLaunch counts a launch that has failed, or begins to count anew after one that has not.
func countLaunch(tx store.Tx, failed bool, reason string, now time.Time) error {
	pool, err := store.Get[*store.Pool](tx, store.PoolKey())
	if err != nil {
		return err
	}
	if failed {
		countFailure(pool, nil, now)
		pool.LaunchFailure = reason
	} else {
		pool.LaunchFailures, pool.LaunchAfter, pool.LaunchFailure = 0, time.Time{}, ""
	}
	return tx.Put(pool)
}

// forget removes the record of an instance that is gone, and that of its mirrors. cause, if not nil, is why its launch
// gave no machine; the pause that follows is none where the next launch goes another way.
func (r *run) forget(ctx context.Context, id string, cause error) error {
	var gone *store.Instance
	now := time.Now()
	pauses := cause != nil && !r.onward(cause)
	keys := []store.Key{store.PoolKey(), store.InstanceKey(id), store.MirrorsKey(id)}
	err := r.update(ctx, keys, func(tx store.Tx) error {
		gone = nil
		in, err := store.Find[*store.Instance](tx, store.InstanceKey(id))
		if err != nil || in == nil || in.Sessions > 0 {
			return err
		}
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		pool.Instances--
		if pauses {
			countFailure(pool, cause, now)
		}
		if cause != nil {
			in.Reason = cleanTail(cause.Error())
			pool.LaunchFailure = in.Reason
		}
		gone = in
		if err := tx.Put(pool); err != nil {
			return err
		}
		if err := store.DropMirrors(tx, id); err != nil {
			return err
		}
		return tx.Delete(in.Key())
	})
	if errors.Is(err, store.ErrUnknownOutcome) {
		if is, lookErr := r.instance(ctx, id); lookErr == nil && is == nil {
			err = nil
		}
	}
	if err != nil {
		r.failed(ctx, "cannot remove the record of an instance", err, "instance", id)
		return err
	}
	if gone == nil {
		return nil
	}
	if cause != nil {
		r.failures.Add(1)
		r.failed(ctx, "a launch failed", cause, "instance", id)
	} else {
		r.cfg.Logger.Info("an instance is gone", "instance", id, "machine", gone.CloudID, "reason", gone.Reason)
	}
	gone.State = ""
	r.cfg.OnChange(*gone)
	r.Wake()
	return nil
}

// instance returns the record of an instance, or nil.
func (r *run) instance(ctx context.Context, id string) (in *store.Instance, err error) {
	ctx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	err = r.cfg.Store.View(ctx, func(v store.View) error {
		in, err = store.Find[*store.Instance](v, store.InstanceKey(id))
		return err
	})
	return in, err
}
