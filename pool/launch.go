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

// launch writes down n new launches, or as many as there is room for, and starts them. When it is not known whether
// they were written down, the next plan sees it.
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
	strangers := len(r.strangers)
	r.mu.Unlock()
	room := 0
	err := r.update(ctx, keys, func(tx store.Tx) error {
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		room = min(n, max(r.cfg.MaxInstances-pool.Instances-strangers, 0))
		if pool.Closed {
			room = 0
		}
		for _, in := range fresh[:room] {
			if err := tx.Put(in); err != nil {
				return err
			}
		}
		pool.Instances += room
		return tx.Put(pool)
	})
	if err != nil {
		r.failed(ctx, "cannot store a launch", err)
		return
	}
	for _, in := range fresh[:room] {
		r.cfg.OnChange(*in)
		r.begin(in.ID, func() error { return r.start(ctx, in) })
	}
}

// repeat goes on with a launch that was written down.
func (r *run) repeat(ctx context.Context, id string) error {
	in, err := r.instance(ctx, id)
	if err != nil {
		r.failed(ctx, "cannot read a launch", err, "instance", id)
		return err
	}
	if in == nil || in.State != store.InstanceLaunching {
		return nil
	}
	return r.start(ctx, in)
}

// start asks the cloud for the machine of a launch, and stores what came of it. Its error makes it come again.
func (r *run) start(ctx context.Context, in *store.Instance) error {
	// Whoever stored the request called the cloud next, or will; so this is the first call only if nobody has.
	first := len(in.Frozen) == 0
	if first {
		err := r.prepare(ctx, in)
		if err != nil { // that it can be prepared does not say that it can be launched
			r.paced(ctx, in.ID, err)
		}
		switch {
		case errors.Is(err, errUnprepared) && !errors.Is(err, ErrThrottled):
			return r.forget(ctx, in.ID, err)
		case err != nil:
			r.failed(ctx, "cannot prepare a launch", err, "instance", in.ID)
			return err
		}
	}
	callCtx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	m, err := r.cfg.Cloud.Launch(callCtx, in.ID, in.Frozen)
	r.paced(ctx, in.ID, err)
	switch {
	case err == nil:
		return r.change(ctx, action{verb: doAdopt, instance: in.ID, cloudID: m.CloudID, address: m.Address})
	case errors.Is(err, ErrLaunchOver), first && startedNothing(err):
		return r.forget(ctx, in.ID, err)
	case errors.Is(err, ErrPermanent):
		// An earlier call may have started a machine: the list will tell.
		return r.change(ctx, action{verb: doRetire, instance: in.ID, reason: err.Error(), failed: true})
	}
	r.failed(ctx, "a launch has no outcome yet", err, "instance", in.ID)
	return err
}

// paced lets launches wait for what the outcome of one asks for.
func (r *run) paced(ctx context.Context, id string, err error) {
	if ctx.Err() != nil {
		return
	}
	r.heard(callLaunch, err)
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

// prepare resolves the request of a launch and stores it, before the cloud is called with it. errUnprepared: there is
// none; after any other error it may be stored or not.
func (r *run) prepare(ctx context.Context, in *store.Instance) error {
	var uid string
	callCtx, cancel := context.WithTimeout(ctx, r.cfg.CallTimeout)
	defer cancel()
	err := r.cfg.Store.View(callCtx, func(v store.View) error {
		pool, err := store.Get[*store.Pool](v, store.PoolKey())
		if err == nil {
			uid = pool.UID
		}
		return err
	})
	if err != nil {
		return err
	}
	generation := r.version(callCtx) // before the request is made: if that is of a later one, it is only renewed too soon
	spec := Spec{Pool: r.cfg.Name, PoolUID: uid, LaunchID: in.ID, Type: r.cfg.InstanceType}
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
	return r.update(ctx, []store.Key{in.Key()}, func(tx store.Tx) error {
		now, err := store.Get[*store.Instance](tx, in.Key())
		if err != nil {
			return err
		}
		if now.State != store.InstanceLaunching || len(now.Frozen) > 0 {
			return errors.New("somebody else has gone on with this launch")
		}
		now.Frozen, now.Trust, now.Generation = frozen, trust, generation
		in.Frozen, in.Trust, in.Generation = frozen, trust, generation
		return tx.Put(now)
	})
}
