package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// These errors say why a container cannot be used. Each is an agent.ErrGone: callers that need the container look for
// another one.
var (
	errInstanceGone = fmt.Errorf("the instance is gone: %w", agent.ErrGone)
	errStopping     = fmt.Errorf("the container is stopping: %w", agent.ErrGone)
)

// keeper looks after one container for this process. It begins with the start of the container, or when this process first
// uses it, and ends when the container is removed or dead, or the Manager is closed. finish decides by the container's record
// alone what the keeper does at its end.
type keeper struct {
	m       *Manager
	id      string
	cred    Credential      // until the fetch has ended
	fetched bool            // the fetch has ended; m.mu protects it, cred and started
	cut     bool            // the start was cut off and is given up, because its credential is lost
	ctx     context.Context // ends when the container is to be removed, is gone, or the Manager is closed
	stop    context.CancelFunc
	caller  context.Context // of the call that made the keeper; nil = none, or the start has ended

	ready   chan struct{} // closed when inside or err is set
	inside  Inside
	err     error
	started bool // this keeper starts or has started the container, or has failed to; m.mu protects it until ready is closed
	proven  bool // with cred, which has read the remote; set before ready is closed
	// isolation is the container's, set before ready is closed.
	isolation store.Isolation
	address   string        // of the instance when this process attached to the container
	gone      chan struct{} // closed when the keeper has ended
}

func (k *keeper) run() {
	defer close(k.gone)
	defer k.m.drop(k)
	ctx := k.ctx
	if k.caller != nil {
		ctx = k.m.cfg.Carry(ctx, k.caller)
	}
	c, err := k.begin(ctx)
	k.err, k.caller = err, nil
	if c != nil {
		k.isolation = c.Isolation
	}
	close(k.ready)
	if err == nil {
		k.watch(c)
	}
	if k.inside != nil {
		k.inside.Close()
	}
	k.finish()
}

// isReady reports whether ready is closed.
func (k *keeper) isReady() bool {
	select {
	case <-k.ready:
		return true
	default:
		return false
	}
}

// begin makes the container ready to use. ctx is the keeper's.
func (k *keeper) begin(ctx context.Context) (*store.Container, error) {
	wake, release := k.m.cfg.Store.Notify(store.ContainerKey(k.id))
	defer release()
	for {
		c, in, err := k.m.records(k.m.ctx, k.id)
		switch {
		case err != nil:
			return nil, err
		case c == nil:
			return nil, agent.ErrGone
		case c.State == store.ContainerStopping:
			return nil, recordedFailure(c)
		case !serves(in):
			return nil, errInstanceGone
		}
		k.address = in.Address
		switch {
		case c.State == store.ContainerReady:
			return c, k.join(ctx, c)
		case c.Owner == k.m.cfg.Replica && k.cut:
			return nil, errStopping
		case c.Owner == k.m.cfg.Replica:
			k.m.mu.Lock()
			k.started = true
			k.m.mu.Unlock()
			return c, k.start(ctx, c)
		}
		if loop.Wait(ctx, poll, wake) != nil { // another replica starts it
			return nil, errStopping
		}
	}
}

// serves reports whether the engine of an instance should answer.
func serves(in *store.Instance) bool {
	return in != nil && (in.State == store.InstanceReady || in.State == store.InstanceCordoned)
}

// join attaches to a container that is ready. It waits for an engine that restarts. If the container has died, that is
// stored. Any other failure may pass: the next caller that needs the container tries again.
func (k *keeper) join(ctx context.Context, c *store.Container) error {
	ctx, cancel := context.WithTimeout(ctx, k.m.cfg.StartTimeout)
	defer cancel()
	err := k.untilReached(ctx, c, func() error {
		ctx, cancel := context.WithTimeout(ctx, k.m.cfg.CallTimeout)
		defer cancel()
		h, err := k.m.hosts.of(ctx, c.Instance)
		if err != nil {
			return err
		}
		k.inside, err = h.Attach(ctx, c.EngineID)
		return err
	})
	if errors.Is(err, agent.ErrGone) && !errors.Is(err, errInstanceGone) { // it died since its record was read
		k.lost(c, err)
	}
	if err == nil {
		k.m.reconcile(k.ctx, c, k.inside)
	}
	return err
}

// A notification of the store may be lost, so records are also read at intervals: every poll by what waits for a change,
// and every watchPoll the record of a container that runs.
const (
	poll      = time.Second
	watchPoll = 10 * time.Second
)

// watch returns when the container is to be removed, or is gone. It also reads the records, for three reasons: an agent
// on an instance that was lost may never say that it is gone, another replica may have ended the container, and no agent
// answers at the old address of an instance that has moved.
func (k *keeper) watch(c *store.Container) {
	ctx, cancel := context.WithCancel(k.ctx)
	var hearing sync.WaitGroup
	hearing.Go(func() { k.hear(ctx, c) })
	if k.m.cfg.Answer != nil {
		hearing.Go(func() { k.answer(ctx, c) })
	}
	defer hearing.Wait()
	defer cancel()
	for {
		err := loop.Wait(k.ctx, watchPoll, k.inside.Done())
		if err != nil {
			return
		}
		if err := k.inside.Err(); err != nil {
			// ErrClosed is the end of a connection that this process closed, for example because the instance's address has
			// changed. It says nothing about the container. The next caller that needs the container attaches again.
			if k.ctx.Err() == nil && !errors.Is(err, agent.ErrClosed) {
				k.lost(c, err)
			}
			return
		}
		now, in, err := k.m.records(k.ctx, k.id)
		if err == nil && (now == nil || now.State != store.ContainerReady || !serves(in) || in.Address != k.address) {
			return
		}
	}
}

// lost stores that the container died or was removed from outside, and ends its sessions. If the container was marked as
// stopping before, it is not lost, and nothing is done.
func (k *keeper) lost(c *store.Container, cause error) {
	first := false
	err := k.m.retry.Update(k.m.ctx, []store.Key{c.Key(), store.InstanceKey(c.Instance)}, func(tx store.Tx) error {
		in, err := store.Find[*store.Instance](tx, store.InstanceKey(c.Instance))
		if err != nil || !serves(in) {
			return err // its sessions are lost with the instance
		}
		stopped, err := k.markStopping(tx, store.Failure{Reason: store.EndContainerLost, Message: Clean(cause.Error())})
		first = first || stopped // an earlier try may have been committed
		return err
	})
	if err != nil || !first {
		return
	}
	k.m.lost.Add(1)
	k.m.cfg.Logger.Warn("a container is gone", "container", c.Name, "instance", c.Instance, "err", cause)
	k.m.cfg.Sessions.EndSessions(*c, cause)
}

// markStopping marks the container as stopping, by this process and for the reason why, unless it is stopping already.
// It reports whether it did. It is a step of a transaction.
func (k *keeper) markStopping(tx store.Tx, why store.Failure) (bool, error) {
	c, err := store.Find[*store.Container](tx, store.ContainerKey(k.id))
	if err != nil || c == nil || c.State != store.ContainerStarting && c.State != store.ContainerReady {
		return false, err
	}
	if err := store.UnlistEmpty(tx, c.Instance, c.ID); err != nil {
		return false, err
	}
	c.State, c.Since, c.Owner, c.Failure = store.ContainerStopping, time.Now(), k.m.cfg.Replica, why
	return true, tx.Put(c)
}

// finish does what the container's record asks of this process, which does not use the container any more. A start of
// this process that was cut off is given up. A container that this process is to remove is removed.
func (k *keeper) finish() {
	for k.m.ctx.Err() == nil {
		c, err := store.Read[*store.Container](k.m.ctx, k.m.cfg.Store, store.ContainerKey(k.id))
		switch {
		case err != nil:
			k.m.failures.Report("cannot read a container's record", err, "container", k.id)
			_ = loop.Sleep(k.m.ctx, poll)
			continue
		case c == nil || c.Owner != k.m.cfg.Replica || c.State == store.ContainerReady:
			return
		case c.State == store.ContainerStarting:
			if k.giveUp(c, store.Failure{}) != nil {
				return
			}
		}
		k.remove(c)
		return
	}
}

// giveUp stores that a start has ended, and why if it failed.
func (k *keeper) giveUp(c *store.Container, why store.Failure) error {
	return k.m.retry.Update(k.m.ctx, []store.Key{c.Key()}, func(tx store.Tx) error {
		_, err := k.markStopping(tx, why)
		return err
	})
}
