package orchestrator

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/store"
)

// errNotOurs ends the removal of a container that another replica has taken over, or that is gone.
var errNotOurs = errors.New("the container is another replica's to remove")

// remove takes a container that this process stops from its engine, and then its record from the store: as long as the
// record is there, nobody else uses the container's name on that instance. It tries until it succeeds, the instance is
// gone, or the Manager is closed.
func (k *keeper) remove(c *store.Container) {
	for pause := 100 * time.Millisecond; ; pause = min(2*pause, 10*time.Second) {
		err := k.removeOnce(c)
		if errors.Is(err, errNotOurs) {
			return
		}
		// A container that is in use by another pool of the same name was never ours.
		if err == nil || errors.Is(err, errInstanceGone) || errors.Is(err, ErrInUse) {
			break
		}
		k.m.failed("cannot remove a container", err, "container", c.Name, "instance", c.Instance)
		if !k.sleep(pause, nil) {
			return
		}
	}
	wake, release := k.m.cfg.Store.Notify(c.Key())
	defer release()
	for {
		done := false
		keys := []store.Key{c.Key(), store.SharingKey(c.Name), store.MirrorsKey(c.Instance)}
		err := k.m.cfg.Store.Update(k.m.ctx, keys, func(tx store.Tx) (err error) {
			done, err = remove(tx, k.id, k.m.cfg.Replica, time.Now())
			return err
		})
		if errors.Is(err, errNotOurs) {
			return
		} else if err != nil {
			k.m.failed("cannot remove the record of a container", err, "container", c.Name, "instance", c.Instance)
		} else if done {
			k.m.cfg.OnGone(*c)
			return
		} else {
			k.m.cfg.EndSessions(*c) // in case they did not hear of it
		}
		if !k.sleep(poll, wake) {
			return
		}
	}
}

// removeOnce asks the engine once, while this process may act and the container is its to remove.
func (k *keeper) removeOnce(c *store.Container) error {
	ctx, cancel, err := k.m.acting(k.m.ctx)
	if err != nil {
		return err
	}
	defer cancel()
	now, in, err := k.m.look(ctx, k.id)
	switch {
	case err != nil:
		return err
	case now == nil || now.State != store.ContainerStopping || now.Owner != k.m.cfg.Replica:
		return errNotOurs
	case !serves(in):
		return errInstanceGone
	}
	ctx, cancelCall := context.WithTimeout(ctx, k.m.cfg.CallTimeout)
	defer cancelCall()
	h, err := k.m.host(ctx, in)
	if err != nil {
		return err
	}
	return h.Remove(ctx, c.Name, now.EngineID)
}

// acting waits until this process may act on what it owns, and returns a context that ends when it may not any more:
// then another replica may have taken over.
func (m *Manager) acting(ctx context.Context) (context.Context, context.CancelFunc, error) {
	held, err := m.cfg.Tenure(ctx)
	if err != nil {
		return nil, nil, err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(held, func() { cancel(context.Cause(held)) })
	return ctx, func() { stop(); cancel(nil) }, nil
}
