package pool

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-go/berth/store"
)

// NewLaunchID makes the ID of a launch. It is at most 64 ASCII characters, EC2's limit for a ClientToken, and fit for
// a DNS label.
func NewLaunchID(pool string) string {
	pool = strings.ToLower(pool)
	return fmt.Sprintf("%.30s-%s", pool, strings.ToLower(rand.Text()[:20]))
}

// launch stores n new launches, or as many as there is room for, and starts them. If it is not known whether they were
// stored, the next plan sees them in the store.
func (r *run) launch(ctx context.Context, n int) {
	now := time.Now()
	fresh := make([]*store.Instance, n)
	keys := []store.Key{store.PoolKey()}
	for i := range fresh {
		fresh[i] = &store.Instance{
			ID: NewLaunchID(r.cfg.Name), State: store.InstanceLaunching, Since: now, CreatedAt: now,
			Slots: r.cfg.SlotsPerInstance, IdleSince: now,
		}
		keys = append(keys, fresh[i].Key())
	}
	r.mu.Lock()
	known, listedAt := len(r.unknown), r.listedAt
	r.mu.Unlock()
	room := 0
	err := r.store.Update(ctx, keys, func(tx store.Tx) error {
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		unknown := known + unseen(r.sinceKnown(pool.Doubts, now), listedAt, r.cfg, now)
		room = min(n, max(r.cfg.MaxInstances-pool.Instances-unknown, 0))
		if pool.Closed {
			room = 0
		}
		for _, in := range fresh[:room] {
			in.UIDs.Base = store.UIDBase(pool.UID)
			if err := tx.Put(in); err != nil {
				return err
			}
		}
		pool.Instances += room
		return tx.Put(pool)
	})
	if err != nil {
		r.failures.Report("cannot store a launch", err)
		return
	}
	for _, in := range fresh[:room] {
		r.cfg.OnChange(*in)
		r.begin(in.ID, func() error { return r.start(ctx, in) })
	}
}

// repeat goes on with a launch that was stored.
func (r *run) repeat(ctx context.Context, id string) error {
	in, err := store.Read[*store.Instance](ctx, r.store, store.InstanceKey(id))
	if err != nil {
		r.failures.Report("cannot read a launch", err, "instance", id)
		return err
	}
	if in == nil || in.State != store.InstanceLaunching {
		return nil
	}
	return r.start(ctx, in)
}

// start asks the cloud for the machine of a launch, and stores the outcome. After an error the launch is repeated.
func (r *run) start(ctx context.Context, in *store.Instance) error {
	// A process that stores the request calls the cloud with it next. So this call is the first if there is no request.
	first := len(in.Frozen) == 0
	if first {
		err := r.prepare(ctx, in)
		if err != nil { // a launch that can be prepared may still be refused
			r.recordLaunch(ctx, in.ID, err)
		}
		switch {
		case errors.Is(err, errUnprepared) && !errors.Is(err, ErrThrottled):
			return r.forget(ctx, in.ID, err, false)
		case err != nil:
			r.failures.Report("cannot prepare a launch", err, "instance", in.ID)
			r.storeLaunchError(ctx, in.ID, err)
			return err
		}
	}
	m, err := r.callLaunch(ctx, in)
	switch {
	case err == nil:
		return r.change(ctx, action{verb: doAdopt, instance: in.ID, cloudID: m.CloudID, address: m.Address})
	case errors.Is(err, ErrLaunchOver), first && startedNothing(err):
		return r.forget(ctx, in.ID, err, true)
	case errors.Is(err, ErrPermanent):
		// An earlier call may have started a machine: the list will show it.
		return r.change(ctx, action{verb: doRetire, instance: in.ID, reason: cleanTail(err.Error()), failed: true})
	}
	r.failures.Report("a launch has no outcome yet", err, "instance", in.ID)
	r.storeLaunchError(ctx, in.ID, err)
	return err
}

// prove repeats a launch of unknown outcome whose instance is not wanted any more. The call returns the machine that the
// launch has started, or starts one now; either is known then, and can be ended. This costs a launch in the worst case,
// where waiting for the list costs minutes.
func (r *run) prove(ctx context.Context, id string) error {
	in, err := store.Read[*store.Instance](ctx, r.store, store.InstanceKey(id))
	if err != nil {
		r.failures.Report("cannot read a launch", err, "instance", id)
		return err
	}
	if in == nil || in.State != store.InstanceTerminating || in.CloudID != "" || len(in.Frozen) == 0 {
		return nil
	}
	m, err := r.callLaunch(ctx, in)
	switch {
	case err == nil:
		return r.change(ctx, action{verb: doProve, instance: id, cloudID: m.CloudID, address: m.Address})
	case errors.Is(err, ErrLaunchOver), errors.Is(err, ErrCapacity), errors.Is(err, ErrQuota):
		// The cloud has tried to start a machine. It does not try for an ID that has one.
		return r.forget(ctx, id, nil, true)
	}
	r.failures.Report("the outcome of a launch is not known yet", err, "instance", id)
	return err
}

// callLaunch calls the cloud with the stored request of a launch.
func (r *run) callLaunch(ctx context.Context, in *store.Instance) (Machine, error) {
	callCtx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	m, err := r.cfg.Cloud.Launch(callCtx, in.ID, in.Frozen)
	r.recordLaunch(ctx, in.ID, err)
	return m, err
}

// recordLaunch makes the next launches wait if the outcome of one asks for that.
func (r *run) recordLaunch(ctx context.Context, id string, err error) {
	if ctx.Err() != nil {
		return
	}
	r.recordCall(sortLaunch, err)
	r.mu.Lock()
	defer r.mu.Unlock()
	switch {
	case errors.Is(err, ErrThrottled):
		r.bucket.throttled(id, time.Now())
	case err == nil:
		r.bucket.tries, r.detours = 0, 0
	}
}

var errUnprepared = errors.New("the launch could not be prepared")

// prepare makes the request of a launch and stores it, before the cloud is called with it. errUnprepared: there is no
// request. After any other error the request may be stored or not.
func (r *run) prepare(ctx context.Context, in *store.Instance) error {
	callCtx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	pool, err := store.ReadPool(callCtx, r.store)
	if err != nil {
		return err
	}
	generation := r.version(callCtx) // before the request: if that is of a later one, the instance is only renewed too soon
	spec := Spec{Pool: r.cfg.Name, PoolUID: pool.UID, LaunchID: in.ID, Type: r.cfg.InstanceType}
	var trust string
	var frozen Frozen
	if r.cfg.Boot != nil {
		spec.UserData, trust, err = r.cfg.Boot(callCtx, in.ID)
	}
	if err == nil {
		frozen, err = r.cfg.Cloud.Prepare(callCtx, spec)
	}
	if err == nil && len(frozen) == 0 {
		err = errors.New("the request is empty")
	}
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		return fmt.Errorf("%w: %w", errUnprepared, err)
	}
	return r.store.Update(ctx, []store.Key{in.Key()}, func(tx store.Tx) error {
		stored, err := store.Get[*store.Instance](tx, in.Key())
		if err != nil {
			return err
		}
		if stored.State != store.InstanceLaunching || len(stored.Frozen) > 0 {
			return errors.New("another process has gone on with this launch")
		}
		stored.Frozen, stored.Trust, stored.Generation = frozen, trust, generation
		in.Frozen, in.Trust, in.Generation = frozen, trust, generation
		return tx.Put(stored)
	})
}
