package teardown

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// purgeInstances clears the engines that should answer.
func (d *destroyer) purgeInstances(ctx context.Context) error {
	for in, err := range store.Instances(ctx, d.Store, store.InstanceQuery{
		States: []store.InstanceState{store.InstanceReady, store.InstanceCordoned},
	}) {
		if err == nil {
			err = d.purge(ctx, in, false)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

// purgeStationary clears the engine of a machine that stays.
func (d *destroyer) purgeStationary(ctx context.Context) error {
	if d.StationaryAddress == "" {
		return nil
	}
	in := &store.Instance{ID: "local", Address: d.StationaryAddress}
	defer d.Containers.Forget(in.ID)
	return d.purge(ctx, in, true)
}

// purge removes all that the pool has on an instance's engine. It tries until that is done or the instance is lost. A
// machine that stays is never lost: its containers would be back with its engine.
func (d *destroyer) purge(ctx context.Context, in *store.Instance, stays bool) error {
	for {
		err := d.purgeOnce(ctx, in)
		if err == nil || errors.Is(err, errReopened) {
			return err
		}
		d.Failures.Report("cannot clear an engine; trying again", err, "instance", in.ID)
		if cause := loop.Sleep(ctx, poll); cause != nil {
			return fmt.Errorf("instance %s cannot be cleared: %w (%w)", in.ID, cause, err)
		}
		if stays {
			continue
		}
		now, err := store.Read[*store.Instance](ctx, d.Store, in.Key())
		if err != nil || now == nil || now.State != store.InstanceReady && now.State != store.InstanceCordoned {
			return err
		}
	}
}

// purgeOnce asks the engine once, while this process may act: a process that is taken for dead has its pool opened again,
// with new containers.
func (d *destroyer) purgeOnce(ctx context.Context, in *store.Instance) error {
	acting, err := d.Acting(ctx)
	if err == nil {
		err = d.stillDestroying(ctx)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(acting, cancel)()
	return d.Containers.Purge(ctx, in)
}
