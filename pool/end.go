package pool

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/store"
)

// end asks the cloud in the background to end machines: in one call, but for those that failed together before. One
// that cannot be ended must not keep the others.
func (r *run) end(ctx context.Context, acts []action) {
	var batch []action
	for _, a := range acts {
		r.mu.Lock()
		g := r.sightFor(a)
		alone := g != nil && g.alone
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

// sightFor returns the sight of what an action is about; nil if that is gone. The caller holds mu.
func (r *run) sightFor(a action) *sight {
	if a.verb == doEndStranger {
		return r.strangers[a.cloudID]
	}
	return r.sights[a.instance]
}

func (r *run) endTogether(ctx context.Context, acts []action) {
	ids := make([]string, len(acts))
	r.mu.Lock()
	for i, a := range acts {
		ids[i] = a.cloudID
		if g := r.sightFor(a); g != nil {
			g.busy = true
		}
	}
	r.mu.Unlock()
	r.going.Go(func() {
		errs := r.endMachines(ctx, ids)
		if errs == nil {
			errs = make(map[string]error)
		}
		if err := r.accepted(ctx, acts, errs); err != nil {
			r.failed(ctx, "cannot store that machines are ending", err)
		}
		r.ended(ctx, acts, errs)
		r.Wake()
	})
}

// endMachines returns why machines could not be ended, by cloud ID.
func (r *run) endMachines(ctx context.Context, ids []string) map[string]error {
	callCtx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	errs, err := r.cfg.Cloud.Terminate(callCtx, ids...)
	if ctx.Err() == nil {
		r.heard(callEnd, err)
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

// accepted stores which machines the cloud has agreed to end.
func (r *run) accepted(ctx context.Context, acts []action, errs map[string]error) error {
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
	return r.update(ctx, keys, func(tx store.Tx) error {
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

// ended notes what came of a call that was to end machines: it is made again after a while, since a cloud may accept
// it without effect, and sooner where it failed.
func (r *run) ended(ctx context.Context, acts []action, errs map[string]error) {
	now := time.Now()
	for _, a := range acts {
		err := errs[a.cloudID]
		r.mu.Lock()
		if g := r.sightFor(a); g != nil {
			g.settle(err, now, a.cloudID)
			g.alone = g.alone || len(acts) > 1 && err != nil && !errors.Is(err, ErrThrottled) && !errors.Is(err, ErrAuth)
			if err == nil {
				g.asked = now.Add(reissue)
			}
		}
		r.mu.Unlock()
		switch {
		case err != nil:
			r.failed(ctx, "cannot end a machine", err, "machine", a.cloudID, "instance", a.instance)
		case a.verb == doEndStranger && r.ofAnotherStore(a.cloudID):
			r.foreignEnded.Add(1)
			r.cfg.Logger.Warn("ended a machine of another store with this pool's name, after ForeignGrace", "machine", a.cloudID)
		case a.verb == doEndStranger:
			r.strangersEnded.Add(1)
			r.cfg.Logger.Warn("ended a machine of the pool that no record knows", "machine", a.cloudID)
		}
	}
}
