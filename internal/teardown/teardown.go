// Package teardown destroys a pool: its sessions, its containers, everything else that it has on engines, and its instances.
package teardown

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// Config configures Destroy. All fields but StationaryAddress are required.
type Config struct {
	Replica    string // this process, as records name it
	Store      store.Store
	Sessions   Sessions
	Containers Containers
	Empties    Empties
	Pool       Pool
	// Acting waits until this process may act, and returns a context that ends when it may not any more
	Acting func(context.Context) (context.Context, error)
	// StationaryAddress is the address of the engine of a machine that stays when it is terminated; "" = there is none. The
	// engine is cleared even if no record knows it
	StationaryAddress string
	Failures          *loop.Failures
}

// Sessions ends sessions.
type Sessions interface {
	// Terminate ends a session and returns when it has ended. ErrSessionNotFound: there is no such session.
	Terminate(ctx context.Context, id, message string) error
}

// Containers clears the engines of instances.
type Containers interface {
	// Purge removes all that the pool has on an instance's engine.
	Purge(ctx context.Context, in *store.Instance) error
	// Forget drops the connection to an instance's engine.
	Forget(instance string)
}

// Empties gives up the containers that no session holds.
type Empties interface {
	// Clear begins to remove all of them.
	Clear(ctx context.Context) error
}

// Pool ends instances.
type Pool interface {
	Wake() // makes the planner look now
	// Left returns what the cloud still shows of the pool.
	Left(ctx context.Context) ([]string, error)
}

// destroyer is a Destroy that is under way.
type destroyer struct{ Config }

// Destroy destroys a pool and leaves it closed until a process opens it again. Otherwise the planners of the replicas would
// launch Config.MinInstances again.
func Destroy(ctx context.Context, cfg Config) error {
	d := &destroyer{cfg}
	for _, step := range []func(context.Context) error{
		func(ctx context.Context) error { return d.setClosed(ctx, false) },
		d.endSessions,
		d.Empties.Clear,
		func(ctx context.Context) error { return d.await(ctx, d.containersLeft) },
		d.purgeInstances,
		d.purgeStationary,
		func(ctx context.Context) error { return d.setClosed(ctx, true) },
		func(ctx context.Context) error { return d.await(ctx, d.instancesLeft) },
		d.awaitNothing,
		d.setDestroyed,
	} {
		if err := step(ctx); err != nil {
			return err
		}
	}
	return nil
}

// setClosed stores that the pool takes no sessions and, if draining, that its instances are to be retired. It takes nothing
// back: another Destroy may be further. If this process dies, the planner takes it back.
func (d *destroyer) setClosed(ctx context.Context, draining bool) error {
	return d.Store.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		if draining && !pool.Closed {
			return errReopened
		}
		pool.Closed, pool.Draining = true, pool.Draining || draining
		if !slices.Contains(pool.Destroyers, d.Replica) {
			pool.Destroyers = append(pool.Destroyers, d.Replica)
		}
		return tx.Put(pool)
	})
}

// setDestroyed stores that the pool is destroyed, for every process that was destroying it.
func (d *destroyer) setDestroyed(ctx context.Context) error {
	return d.Store.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
		pool, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil || !pool.Closed || pool.Instances > 0 { // another process has opened it meanwhile
			return err
		}
		pool.Destroyers = nil
		return tx.Put(pool)
	})
}

// errReopened ends a Destroy whose process was silent for so long that it was taken for dead.
var errReopened = fmt.Errorf("%w, for so long that another has opened the pool again: call Destroy again", errs.ErrSuspended)

// stillDestroying returns errReopened when the pool is not being destroyed any more.
func (d *destroyer) stillDestroying(ctx context.Context) error {
	pool, err := store.ReadPool(ctx, d.Store)
	if err == nil && !pool.Closed {
		err = errReopened
	}
	return err
}

// poll is the time between two looks at the rest.
const poll = time.Second

// await returns when nothing is left. left describes the rest.
func (d *destroyer) await(ctx context.Context, left func(context.Context) (string, error)) error {
	for known := ""; ; {
		what, err := left(ctx)
		if err == nil && what == "" {
			return nil
		}
		if err == nil {
			known, err = what, d.stillDestroying(ctx)
		}
		if err != nil && ctx.Err() != nil && known != "" {
			return fmt.Errorf("%s: %w", known, context.Cause(ctx))
		}
		if err != nil {
			return err
		}
		d.Pool.Wake()
		if err := loop.Sleep(ctx, poll/10); err != nil {
			return fmt.Errorf("%s: %w", what, err)
		}
	}
}
