package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// Why a container cannot be used. Each is an agent.ErrGone: whoever needs the container looks for another.
var (
	errInstanceGone = fmt.Errorf("the instance is gone: %w", agent.ErrGone)
	errStopping     = fmt.Errorf("the container is stopping: %w", agent.ErrGone)
)

// keeper looks after one container for this process, from its start, or from the moment that this process first uses
// it, until it is removed, dies, or the Manager is closed. What it does at the end follows from the container's record
// alone: see finish.
type keeper struct {
	m    *Manager
	id   string
	cred Credential      // until the fetch has ended; protected by m.mu
	cut  bool            // a start that was cut off: its credential is lost, so that it is given up
	ctx  context.Context // ends when the container is to be removed, is gone, or the Manager is closed
	stop context.CancelFunc

	ready   chan struct{} // closed when inside or err is set
	inside  Inside
	err     error
	address string        // of the instance when it was attached to
	gone    chan struct{} // closed when the keeper has ended
}

func (k *keeper) run() {
	defer close(k.gone)
	defer k.m.drop(k)
	c, err := k.begin()
	k.err = err
	close(k.ready)
	if err == nil {
		k.watch(c)
	}
	if k.inside != nil {
		k.inside.Close()
	}
	k.finish()
}

// begin makes the container ready to use.
func (k *keeper) begin() (*store.Container, error) {
	wake, release := k.m.cfg.Store.Notify(store.ContainerKey(k.id))
	defer release()
	for {
		c, in, err := k.m.look(k.m.ctx, k.id)
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
			return c, k.join(c)
		case c.Owner == k.m.cfg.Replica && k.cut:
			return nil, errStopping
		case c.Owner == k.m.cfg.Replica:
			return c, k.start(c)
		}
		select { // another replica starts it
		case <-wake:
		case <-time.After(poll):
		case <-k.ctx.Done():
			return nil, errStopping
		}
	}
}

// serves reports whether the engine of an instance can be expected to answer.
func serves(in *store.Instance) bool {
	return in != nil && (in.State == store.InstanceReady || in.State == store.InstanceCordoned)
}

// join attaches to a container that is ready. Other failures than its death pass: whoever needs the container next
// tries again.
func (k *keeper) join(c *store.Container) error {
	ctx, cancel := context.WithTimeout(k.ctx, k.m.cfg.CallTimeout)
	defer cancel()
	h, err := k.m.hostOf(ctx, c.Instance)
	if err != nil {
		return err
	}
	k.inside, err = h.Attach(ctx, c.EngineID)
	if errors.Is(err, agent.ErrGone) { // it died while nobody looked
		k.lost(c, err)
	}
	if err == nil {
		k.m.reconcile(k.ctx, c, k.inside)
	}
	return err
}

// poll is how often a record is looked at beside the store's notifications, which may be lost; watchPoll the same for
// the record of a container that runs.
const (
	poll      = time.Second
	watchPoll = 10 * time.Second
)

// recordedFailure is the error that a stopping container's record holds.
func recordedFailure(c *store.Container) error {
	if c.Failure.Phase == "" {
		return errStopping
	}
	return &StartFailure{Phase: c.Failure.Phase, Err: errors.New(c.Failure.Message)}
}

// watch returns when the container is to be removed, or is gone. An agent on an instance that was lost may never say
// that it is gone, another replica may have ended the container, and on an instance that has moved nobody answers at
// the old address: so the records are looked at, too.
func (k *keeper) watch(c *store.Container) {
	look := time.NewTicker(watchPoll)
	defer look.Stop()
	for {
		select {
		case <-k.ctx.Done():
			return
		case <-k.inside.Done():
			// A connection that we closed ourselves, as when the instance's address changes, says nothing of the
			// container: whoever needs it next attaches anew, as after the return below.
			if err := k.inside.Err(); k.ctx.Err() == nil && !errors.Is(err, agent.ErrClosed) {
				k.lost(c, err)
			}
			return
		case <-look.C:
		}
		now, in, err := k.m.look(k.ctx, k.id)
		if err == nil && (now == nil || now.State != store.ContainerReady || !serves(in) || in.Address != k.address) {
			return
		}
	}
}

// lost stores that the container died or was removed from outside, and says so, unless somebody has seen to its end
// before: then that is no loss.
func (k *keeper) lost(c *store.Container, cause error) {
	first := false
	err := k.m.insist(k.m.ctx, []store.Key{c.Key(), store.InstanceKey(c.Instance)}, func(tx store.Tx) error {
		in, err := store.Find[*store.Instance](tx, store.InstanceKey(c.Instance))
		if err != nil || !serves(in) {
			return err // its sessions are lost with the instance
		}
		stopped, err := k.markStopping(tx, store.Failure{Reason: "container lost", Message: Clean(cause.Error())})
		first = first || stopped // an earlier try may have been committed
		return err
	})
	if err != nil || !first {
		return
	}
	k.m.lost.Add(1)
	k.m.cfg.Logger.Warn("a container is gone", "container", c.Name, "instance", c.Instance, "err", cause)
	k.m.cfg.OnLost(*c, cause)
}

// markStopping marks the container as stopping, by this process and with the reason, unless it is already. It reports
// whether it did. It is a step of a transaction.
func (k *keeper) markStopping(tx store.Tx, why store.Failure) (bool, error) {
	c, err := store.Find[*store.Container](tx, store.ContainerKey(k.id))
	if err != nil || c == nil || c.State != store.ContainerStarting && c.State != store.ContainerReady {
		return false, err
	}
	c.State, c.Since, c.Owner, c.Failure = store.ContainerStopping, time.Now(), k.m.cfg.Replica, why
	return true, tx.Put(c)
}

// finish does what the container's record asks of this process, now that it does not use the container any more: a
// start of ours that was cut off is given up, and a container that is ours to remove is removed.
func (k *keeper) finish() {
	for k.m.ctx.Err() == nil {
		c, _, err := k.m.look(k.m.ctx, k.id)
		switch {
		case err != nil:
			k.m.failed("cannot read a container's record", err, "container", k.id)
			k.sleep(poll, nil)
			continue
		case c == nil || c.Owner != k.m.cfg.Replica || c.State == store.ContainerReady:
			return
		case c.State == store.ContainerStarting:
			err := k.m.insist(k.m.ctx, []store.Key{c.Key()}, func(tx store.Tx) error {
				_, err := k.markStopping(tx, store.Failure{})
				return err
			})
			if err != nil {
				return
			}
		}
		k.remove(c)
		return
	}
}

// sleep returns after d or when woken, and reports false when the Manager is closed.
func (k *keeper) sleep(d time.Duration, wake <-chan struct{}) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-k.m.ctx.Done():
	case <-wake:
	case <-t.C:
	}
	return k.m.ctx.Err() == nil
}
