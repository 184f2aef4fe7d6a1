package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// errNotOurs ends the removal of a container that another replica has taken over, or that is gone.
var errNotOurs = errors.New("another replica removes the container")

// remove removes a container that this process stops from its engine, and then its record from the store. While the
// record is there, the container's name is not used again on the instance. remove tries until it succeeds, the instance
// is gone, or the Manager is closed.
func (k *keeper) remove(c *store.Container) {
	if k.removeContainer(c) == nil {
		k.removeRecord(c)
	}
}

var removePauses = loop.Pauses{First: 100 * time.Millisecond, Longest: 10 * time.Second}

// removeContainer returns nil when the engine has no container of ours any more.
func (k *keeper) removeContainer(c *store.Container) (err error) {
	stopped := loop.Retry(k.m.ctx, removePauses, func() (done bool) {
		err = k.removeOnce(c)
		switch {
		case err == nil, errors.Is(err, errNotOurs):
			return true
		case errors.Is(err, errInstanceGone), errors.Is(err, ErrInUse):
			err = nil // a container that another pool of the same name uses was never ours
			return true
		}
		k.m.failures.Report("cannot remove a container", err, "container", c.Name, "instance", c.Instance)
		return false
	})
	return cmp.Or(stopped, err)
}

// removeOnce asks the engine once, if this process may act and the container is its to remove.
func (k *keeper) removeOnce(c *store.Container) error {
	ctx, cancel, err := k.m.acting(k.m.ctx)
	if err != nil {
		return err
	}
	defer cancel()
	now, in, err := k.m.records(ctx, k.id)
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
	h, err := k.m.hosts.to(ctx, in)
	if err != nil {
		return err
	}
	if err := h.Remove(ctx, c.Name, now.EngineID); err != nil || !c.SharingKey.Private() {
		return err
	}
	return h.RemoveMirror(ctx, c.Name) // nobody else may use it
}

// removeRecord removes the record of a container that is gone from its engine, once no session holds the container. It
// tries until it succeeds or another replica does, or the Manager is closed.
func (k *keeper) removeRecord(c *store.Container) {
	wake, release := k.m.cfg.Store.Notify(c.Key())
	defer release()
	for {
		done := false
		keys := []store.Key{c.Key(), store.SharingKey(c.Name), store.MirrorsKey(c.Instance)}
		err := k.m.cfg.Store.Update(k.m.ctx, keys, func(tx store.Tx) (err error) {
			done, err = deleteRecord(tx, k.id, k.m.cfg.Replica, time.Now())
			return err
		})
		switch {
		case errors.Is(err, errNotOurs):
			return
		case err != nil:
			k.m.failures.Report("cannot remove the record of a container", err, "container", c.Name, "instance", c.Instance)
		case done:
			k.m.cfg.OnGone(*c)
			return
		default: // sessions hold it still: they may have missed its end
			k.m.cfg.Sessions.EndSessions(*c, nil)
		}
		if loop.Wait(k.m.ctx, poll, wake) != nil {
			return
		}
	}
}

// deleteRecord deletes the record of a container that is gone from its engine, unless a session holds the container. It
// reports whether the record is gone. errNotOurs: another replica than owner removes the container, and may be about to
// ask the engine for that, by the container's name.
func deleteRecord(tx store.Tx, id, owner string, now time.Time) (bool, error) {
	c, err := store.Find[*store.Container](tx, store.ContainerKey(id))
	if err != nil || c == nil {
		return true, err
	}
	if c.Owner != owner {
		return false, errNotOurs
	}
	if c.Sessions > 0 {
		return false, nil
	}
	if c.SharingKey.Private() {
		err = dropMirror(tx, c.Instance, c.Name)
	} else {
		err = touchMirror(tx, c.Instance, c.Name, now)
	}
	if err != nil {
		return false, err
	}
	sharing, err := store.Find[*store.Sharing](tx, store.SharingKey(c.Name))
	if err != nil {
		return false, err
	}
	if sharing != nil {
		sharing.Containers = slices.DeleteFunc(sharing.Containers, func(have string) bool { return have == id })
		if err := store.PutSharing(tx, sharing); err != nil {
			return false, err
		}
	}
	return true, tx.Delete(c.Key())
}
