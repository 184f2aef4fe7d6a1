package orchestrator

import (
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// Joinable reports whether a container on an instance takes sessions, given a free slot.
func Joinable(c *store.Container, in *store.Instance) bool {
	return c != nil && in != nil && in.State == store.InstanceReady && !c.Superseded &&
		(c.State == store.ContainerStarting || c.State == store.ContainerReady)
}

// Join makes a session one of those that hold a container. It is a step of the transaction that creates the session,
// which has taken a slot on the container's instance; the caller puts the session. beside are the containers of its key
// that cannot be joined now: their instances may take sessions again, when there is this one.
func Join(tx store.Tx, c *store.Container, beside []*store.Container, s *store.Session) error {
	for _, other := range beside {
		other.Superseded = true
		if err := tx.Put(other); err != nil {
			return err
		}
	}
	c.Sessions++
	s.Container, s.ContainerName, s.Instance = c.ID, c.Name, c.Instance
	return tx.Put(c)
}

// Create writes down a new container for a session, which joins it, and whose owner will start it. id is one of
// NewContainerID: it is made before the transaction, which may run again and must then ask for the same keys. beside is as
// for Join.
func Create(tx store.Tx, id string, sharing *store.Sharing, beside []*store.Container, s *store.Session, instance string, now time.Time) error {
	c := &store.Container{
		ID:   id,
		Name: sharing.ID, SharingKey: sharing.SharingKey, Instance: instance, Remote: s.Remote,
		State: store.ContainerStarting, Since: now, CreatedAt: now, Owner: s.Owner,
	}
	sharing.Containers = append(sharing.Containers, c.ID)
	if err := tx.Put(sharing); err != nil {
		return err
	}
	return Join(tx, c, beside, s)
}

// Leave undoes Join: it is a step of the transaction that ends a session. It returns the container if that was its
// last session: it is then marked stopping, and nobody joins it any more. owner is the replica that removes it, unless
// another one is just starting it, which then does.
func Leave(tx store.Tx, container, owner string, now time.Time) (stopping *store.Container, err error) {
	c, err := store.Find[*store.Container](tx, store.ContainerKey(container))
	if err != nil || c == nil {
		return nil, err
	}
	c.Sessions--
	if c.Sessions == 0 && (c.State == store.ContainerStarting || c.State == store.ContainerReady) {
		if c.State == store.ContainerReady {
			c.Owner = owner
		}
		c.State, c.Since = store.ContainerStopping, now
	}
	if c.State == store.ContainerStopping && c.Sessions == 0 {
		stopping = c
	}
	return stopping, tx.Put(c)
}

// remove deletes the record of a container that is gone from its engine, once no session holds it. It reports whether
// it did. errNotOurs: another replica than owner removes it, and may be about to ask the engine, by its name.
func remove(tx store.Tx, id, owner string, now time.Time) (bool, error) {
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
	sharing, err := store.Find[*store.Sharing](tx, store.SharingKey(c.Name))
	if err != nil {
		return false, err
	}
	if err := touchMirror(tx, c.Instance, c.Name, now); err != nil {
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
