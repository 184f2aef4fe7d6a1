package pool

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// change takes the actions that only change an instance's record. It looks at the record again, because a session may
// have come since the plan was made.
func (r *run) change(ctx context.Context, a action) error {
	m := r.listed(a.instance)
	return r.modify(ctx, a, func(in *store.Instance, now time.Time) bool {
		switch a.verb {
		case doAdopt:
			if in.State == store.InstanceLaunching {
				in.CloudID, in.Address = a.cloudID, a.address
				in.Frozen = nil // the launch is not repeated, and the record is written with each session that comes or goes
			}
			return become(in, now, store.InstanceBooting, "", store.InstanceLaunching)
		case doProve:
			if in.State != store.InstanceTerminating || in.CloudID != "" {
				return false
			}
			in.CloudID, in.Address, in.Frozen = a.cloudID, a.address, nil
			return true
		case doLocate:
			moved := in.Address != a.address
			in.Address = a.address
			return moved
		case doReady:
			in.IdleSince = now
			if m.CloudID == in.CloudID {
				in.Type, in.Zone, in.Spot = m.Type, m.Zone, m.Spot
			}
			return become(in, now, store.InstanceReady, "", store.InstanceBooting)
		case doCordon:
			in.Outlook = string(a.outlook)
			return (in.Sessions == 0 || in.Drain || a.outlook != "" || in.Wish == store.WishCordon) &&
				become(in, now, store.InstanceCordoned, a.reason, store.InstanceReady)
		case doDrain:
			in.Drain, in.Outlook = true, string(a.outlook)
			in.Wish, in.WishReason = "", ""
			return become(in, now, store.InstanceCordoned, a.reason, store.InstanceReady, store.InstanceCordoned)
		case doUncordon:
			in.Outlook = ""
			if in.Sessions == 0 {
				in.IdleSince = now
			}
			if in.Wish == store.WishUncordon {
				in.Wish = ""
			}
			return !in.Drain && in.Wish == "" && become(in, now, store.InstanceReady, "", store.InstanceCordoned)
		case doRetire:
			return in.Sessions == 0 && (!held(in) || a.reason == destroyed) && become(in, now, store.InstanceTerminating, a.reason,
				store.InstanceLaunching, store.InstanceBooting, store.InstanceCordoned)
		case doLose:
			return become(in, now, store.InstanceLost, a.reason, store.InstanceReady, store.InstanceCordoned)
		}
		return false
	})
}

// listed returns the machine of an instance, as the cloud listed it last. Its zero value is one that was not listed.
func (r *run) listed(instance string) Machine {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, m := range r.machines {
		if m.LaunchID == instance {
			return m
		}
	}
	return Machine{}
}

// become moves an instance from one of some states to another, and reports whether it was in one of them.
func become(in *store.Instance, now time.Time, to store.InstanceState, reason string, from ...store.InstanceState) bool {
	if !slices.Contains(from, in.State) {
		return false
	}
	in.State, in.Since, in.Reason = to, now, reason
	return true
}

// modify changes an instance, and with it the pool's count of failed launches, in one transaction. Then it reports the
// change. fn reports whether it has changed the record.
func (r *run) modify(ctx context.Context, a action, fn func(in *store.Instance, now time.Time) bool) error {
	var changed *store.Instance
	now := time.Now().Truncate(time.Microsecond) // as stores keep it, for the comparison below
	keys := []store.Key{store.InstanceKey(a.instance)}
	if a.failed || a.verb == doReady {
		keys = append(keys, store.PoolKey())
	}
	err := r.store.Update(ctx, keys, func(tx store.Tx) error {
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
		// Look, because a change must be reported if it was made. If it was not, it is planned again.
		stored, readErr := store.Read[*store.Instance](ctx, r.store, store.InstanceKey(a.instance))
		if readErr == nil && stored != nil && changed != nil && stored.State == changed.State && stored.Since.Equal(changed.Since) {
			err = nil
		}
	}
	if err != nil {
		r.failures.Report("cannot store a change of an instance", err, "instance", a.instance, "change", string(a.verb))
		return err
	}
	if changed != nil {
		r.reportChange(a, changed)
	}
	return nil
}

// reportChange counts and reports a change that was stored.
func (r *run) reportChange(a action, in *store.Instance) {
	switch {
	case a.failed:
		r.launchFailures.Add(1)
		r.cfg.Logger.Warn("a launch failed", "instance", in.ID, "machine", in.CloudID, "reason", in.Reason)
	case a.verb == doAdopt, a.verb == doProve:
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
	if a.verb != doLocate && a.verb != doProve { // its state is the same
		r.cfg.OnChange(*in)
	}
	r.Wake()
}

// countLaunch counts a failed launch, or sets the count to zero after one that succeeded.
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
// gave no machine. Launches pause after that, unless the next one goes another way. asked says that the cloud was asked for
// a machine of which nothing is known, not even that it has ended: see store.Doubt.
func (r *run) forget(ctx context.Context, id string, cause error, asked bool) error {
	gone, err := r.removeRecord(ctx, id, cause, asked)
	if errors.Is(err, store.ErrUnknownOutcome) {
		if stored, readErr := store.Read[*store.Instance](ctx, r.store, store.InstanceKey(id)); readErr == nil && stored == nil {
			err = nil
		}
	}
	if err != nil {
		r.failures.Report("cannot remove the record of an instance", err, "instance", id)
		return err
	}
	if gone == nil {
		return nil
	}
	if cause != nil {
		r.launchFailures.Add(1)
		r.failures.Report("a launch failed", cause, "instance", id)
	} else {
		r.cfg.Logger.Info("an instance is gone", "instance", id, "machine", gone.CloudID, "reason", gone.Reason)
	}
	gone.State = ""
	r.cfg.OnChange(*gone)
	r.Wake()
	return nil
}

// removeRecord is the transaction of forget. It returns the record that it has removed; nil if there was none, or if the
// instance has sessions or empty containers. After store.ErrUnknownOutcome too, gone is the record.
func (r *run) removeRecord(ctx context.Context, id string, cause error, asked bool) (gone *store.Instance, err error) {
	now := time.Now()
	pauses := cause != nil && !r.nextGoesOn(cause)
	keys := []store.Key{store.PoolKey(), store.InstanceKey(id), store.MirrorsKey(id)}
	err = r.store.Update(ctx, keys, func(tx store.Tx) error {
		gone = nil
		in, err := store.Find[*store.Instance](tx, store.InstanceKey(id))
		if err != nil || in == nil || in.Sessions+len(in.Empties) > 0 {
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
		if asked {
			r.addDoubt(pool, id, now)
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
	return gone, err
}
