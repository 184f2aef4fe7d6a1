package pool

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/store"
)

// end asks the cloud in the background to end machines, in one call. Machines that could not be ended in a call for
// several are ended in calls of their own, so that one of them does not keep the others.
func (r *run) end(ctx context.Context, acts []action) {
	var batch []action
	for _, a := range acts {
		r.mu.Lock()
		obs := r.observationFor(a)
		alone := obs != nil && obs.alone
		r.mu.Unlock()
		if alone {
			r.endTogether(ctx, []action{a})
		} else {
			batch = append(batch, a)
		}
	}
	if len(batch) > 0 {
		r.endTogether(ctx, batch)
	}
}

func (r *run) endTogether(ctx context.Context, acts []action) {
	ids := make([]string, len(acts))
	r.mu.Lock()
	for i, a := range acts {
		ids[i] = a.cloudID
		if obs := r.observationFor(a); obs != nil {
			obs.busy = true
		}
	}
	r.mu.Unlock()
	r.going.Go(func() {
		errs := r.endMachines(ctx, ids)
		if err := r.storeAccepted(ctx, acts, errs); err != nil {
			r.failures.Report("cannot store that machines are ending", err)
		}
		r.recordEnds(acts, errs)
		r.Wake()
	})
}

// endMachines returns why machines could not be ended, by cloud ID.
func (r *run) endMachines(ctx context.Context, ids []string) map[string]error {
	callCtx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	errs, err := r.cfg.Cloud.Terminate(callCtx, ids...)
	if ctx.Err() == nil {
		r.recordCall(sortEnd, err)
	}
	if err == nil {
		return errs
	}
	errs = make(map[string]error, len(ids))
	for _, id := range ids {
		errs[id] = err
	}
	return errs
}

// storeAccepted stores which machines the cloud has agreed to end.
func (r *run) storeAccepted(ctx context.Context, acts []action, errs map[string]error) error {
	ending := make(map[string]string) // cloud IDs by launch ID
	var keys []store.Key
	for _, a := range acts {
		if errs[a.cloudID] == nil && a.verb == doTerminate {
			ending[a.instance] = a.cloudID
			keys = append(keys, store.InstanceKey(a.instance))
		}
	}
	if len(keys) == 0 {
		return nil
	}
	return r.store.Update(ctx, keys, func(tx store.Tx) error {
		for _, key := range keys {
			in, err := store.Find[*store.Instance](tx, key)
			if err != nil {
				return err
			}
			if in == nil || in.Terminated {
				continue
			}
			in.Terminated, in.CloudID = true, ending[in.ID]
			if err := tx.Put(in); err != nil {
				return err
			}
		}
		return nil
	})
}

// recordEnds records the outcome of a call that was to end machines. The call is repeated after a while, because a cloud
// may accept it without effect, and sooner if it failed.
func (r *run) recordEnds(acts []action, errs map[string]error) {
	now := time.Now()
	for _, a := range acts {
		err := errs[a.cloudID]
		r.mu.Lock()
		if obs := r.observationFor(a); obs != nil {
			obs.actionEnded(err, now, a.cloudID)
			obs.alone = obs.alone || len(acts) > 1 && err != nil && !errors.Is(err, ErrThrottled) && !errors.Is(err, ErrAuth)
			if err == nil {
				obs.asked = now.Add(reissue)
			}
		}
		r.mu.Unlock()
		switch {
		case err != nil:
			r.failures.Report("cannot end a machine", err, "machine", a.cloudID, "instance", a.instance)
		case a.verb == doEndUnknown && r.ofAnotherStore(a.cloudID):
			r.foreignEnded.Add(1)
			r.cfg.Logger.Warn("ended a machine of another store with this pool's name, after ForeignGrace", "machine", a.cloudID)
		case a.verb == doEndUnknown:
			r.unknownEnded.Add(1)
			r.cfg.Logger.Warn("ended a machine of the pool that no record knows", "machine", a.cloudID)
		}
	}
}
