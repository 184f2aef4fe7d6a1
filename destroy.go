package berth

import (
	"context"
	"errors"
	"fmt"
	"iter"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// Destroy ends every session of the pool, whichever replica made it, removes its containers, mirrors, networks and
// volumes, terminates its instances, and closes the Provider. From its beginning no session can be created on the
// pool; when it is done, the next New opens the pool again. When ctx ends first, it returns without closing, and the
// pool stays closed to sessions: call it again to go on. A Close meanwhile ends it with ErrClosed. If the process ends
// before it is done, the others open the pool again half a minute later, with what is left of it. Destroying what is
// destroyed succeeds.
func (p *Provider) Destroy(ctx context.Context) error {
	if err := p.enter(); err != nil {
		if p.destroyed.Load() {
			return nil
		}
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.ctx, func() { cancel(ErrClosed) }) // nothing is ended any more after Close
	err := p.destroy(ctx)
	stop()
	cancel(nil)
	p.calls.Done()
	if err != nil {
		return fmt.Errorf("berth: cannot destroy the pool: %w", err)
	}
	p.destroyed.Store(true)
	return p.Close()
}

// destroy leaves the pool closed until the next New: else the planners, this one's and those of other replicas, would
// launch Config.MinInstances again.
func (p *Provider) destroy(ctx context.Context) error {
	if err := p.setClosed(ctx, false); err != nil {
		return err
	}
	if err := p.endEvery(ctx); err != nil {
		return err
	}
	if err := p.await(ctx, "containers", p.countContainers); err != nil {
		return err
	}
	for in, err := range p.readyInstances(ctx) {
		if err == nil {
			err = p.purge(ctx, in)
		}
		if err != nil {
			return err
		}
	}
	if err := p.setClosed(ctx, true); err != nil {
		return err
	}
	if err := p.await(ctx, "instances", p.countInstances); err != nil {
		return err
	}
	return p.setDestroyed(ctx)
}

// purge removes all that the pool has on an instance's engine. It tries until that is done, or the instance is lost.
func (p *Provider) purge(ctx context.Context, in *store.Instance) error {
	for {
		err := p.purgeOnce(ctx, in)
		if err == nil || errors.Is(err, errReopened) {
			return err
		}
		p.failed("cannot clear an engine; trying again", err, "instance", in.ID)
		select {
		case <-ctx.Done():
			return fmt.Errorf("instance %s cannot be cleared: %w (%w)", in.ID, context.Cause(ctx), err)
		case <-time.After(poll):
		}
		var now *store.Instance
		err = p.store.View(ctx, func(v store.View) (err error) {
			now, err = store.Find[*store.Instance](v, in.Key())
			return err
		})
		if err != nil || now == nil || now.State != store.InstanceReady && now.State != store.InstanceCordoned {
			return err
		}
	}
}

// purgeOnce asks the engine once, as long as this process may act: when it is taken for dead, another opens the pool
// again, and there are new containers.
func (p *Provider) purgeOnce(ctx context.Context, in *store.Instance) error {
	held, err := p.tenure.await(ctx)
	if err == nil {
		err = p.destroying(ctx)
	}
	if err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(held, cancel)()
	return p.orch.Purge(ctx, in)
}

// setClosed stores that the pool takes no sessions and, if draining, that its instances are to be retired. It takes
// nothing back: another Destroy may be further. If this process dies, the planner does: see reopen.
func (p *Provider) setClosed(ctx context.Context, draining bool) error {
	return p.store.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
		record, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		if draining && !record.Closed {
			return errReopened
		}
		record.Closed, record.Draining = true, record.Draining || draining
		if !slices.Contains(record.Destroyers, p.replica) {
			record.Destroyers = append(record.Destroyers, p.replica)
		}
		return tx.Put(record)
	})
}

// setDestroyed stores that the pool is destroyed, for all that have been at it: the next New opens it again.
func (p *Provider) setDestroyed(ctx context.Context) error {
	return p.store.Update(ctx, []store.Key{store.PoolKey()}, func(tx store.Tx) error {
		record, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil || !record.Closed || record.Instances > 0 { // somebody has opened it meanwhile
			return err
		}
		record.Destroyers = nil
		return tx.Put(record)
	})
}

// errReopened ends a Destroy whose process was silent for so long that it was taken for dead.
var errReopened = errors.New("this process did not answer for so long that another has opened the pool again: call Destroy again")

// destroying returns errReopened when the pool is not being destroyed any more.
func (p *Provider) destroying(ctx context.Context) error {
	record, err := p.poolRecord(ctx)
	if err == nil && !record.Closed {
		err = errReopened
	}
	return err
}

// endEvery ends every session, until there is none.
func (p *Provider) endEvery(ctx context.Context) error {
	for {
		if err := p.destroying(ctx); err != nil {
			return err
		}
		page, err := p.sessions(ctx, store.SessionQuery{
			States: []store.SessionState{store.SessionCreating, store.SessionActive, store.SessionTerminating},
		})
		if err != nil || len(page) == 0 {
			return err
		}
		var endings []*ending
		for _, s := range page {
			endings = append(endings, p.end(s.ID, store.Failure{Reason: endTerminated, Message: "the pool was destroyed"}))
		}
		for _, e := range endings {
			select {
			case <-e.done:
			case <-ctx.Done():
				return context.Cause(ctx)
			}
			if e.err != nil && !errors.Is(e.err, ErrSessionNotFound) && !errors.Is(e.err, errAlive) {
				return e.err
			}
		}
	}
}

// await returns when a count is zero.
func (p *Provider) await(ctx context.Context, what string, count func(context.Context) (int, error)) error {
	for {
		n, err := count(ctx)
		if err != nil || n == 0 {
			return err
		}
		if err := p.destroying(ctx); err != nil {
			return err
		}
		p.pool.Wake()
		select {
		case <-ctx.Done():
			return fmt.Errorf("%d %s are left: %w", n, what, context.Cause(ctx))
		case <-time.After(poll / 10):
		}
	}
}

func (p *Provider) countInstances(ctx context.Context) (int, error) {
	record, err := p.poolRecord(ctx)
	if err != nil {
		return 0, err
	}
	return record.Instances, nil
}

func (p *Provider) countContainers(ctx context.Context) (n int, err error) {
	err = p.store.View(ctx, func(v store.View) error {
		page, err := v.Containers(store.ContainerQuery{})
		n = len(page)
		return err
	})
	return n, err
}

// readyInstances yields the instances whose engines should answer.
func (p *Provider) readyInstances(ctx context.Context) iter.Seq2[*store.Instance, error] {
	return store.Instances(ctx, p.store, store.InstanceQuery{
		States: []store.InstanceState{store.InstanceReady, store.InstanceCordoned},
	})
}
