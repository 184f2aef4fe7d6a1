package orchestrator

import (
	"crypto/rand"
	"strings"
	"time"

	"github.com/berth-go/berth/store"
)

// NewContainerID returns an ID for the record of a new container. No other container ever has it.
func NewContainerID() string { return "c-" + strings.ToLower(rand.Text()[:20]) }

// Joinable reports whether a container on an instance takes sessions, if the instance has a free slot.
func Joinable(c *store.Container, in *store.Instance) bool {
	return c != nil && in != nil && in.State == store.InstanceReady && !c.Superseded &&
		(c.State == store.ContainerStarting || c.State == store.ContainerReady)
}

// Join makes a session one of those that hold a container. It is a step of the transaction that creates the session. That
// transaction has taken a slot on the container's instance, and its caller puts the session. beside are the containers
// of the same key that cannot be joined now. Join supersedes them: they are not joined any more, even if their instances
// take sessions again.
func Join(tx store.Tx, c *store.Container, beside []*store.Container, s *store.Session) error {
	for _, other := range beside {
		other.Superseded = true
		if err := tx.Put(other); err != nil {
			return err
		}
	}
	if c.Sessions == 0 {
		if err := store.UnlistEmpty(tx, c.Instance, c.ID); err != nil {
			return err
		}
	}
	c.Sessions++
	s.Container, s.ContainerName, s.Instance = c.ID, c.Name, c.Instance
	return tx.Put(c)
}

// Create stores a new container for a session, and joins it. The session's owner will start the container. id comes from
// NewContainerID. It is made before the transaction, because a transaction that runs again must use the same keys. beside
// is as for Join.
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

// Left says what Leave did with the container. Both are nil if other sessions hold it, or if it is gone.
type Left struct {
	Stopping *store.Container // it is to be removed
	Kept     *store.Container // it stays empty
}

// Leave undoes Join. It is a step of the transaction that ends a session, before that gives back its slot. If the session was
// the last one of the container, the container stays empty if keep says so. Otherwise Leave marks it as stopping, so that no
// session joins it any more. owner is the replica that removes the container. If another replica is starting the container,
// that one removes it instead.
func Leave(tx store.Tx, container, owner string, keep Keep, now time.Time) (left Left, err error) {
	c, err := store.Find[*store.Container](tx, store.ContainerKey(container))
	if err != nil || c == nil {
		return left, err
	}
	c.Sessions--
	if c.Sessions == 0 && (c.State == store.ContainerStarting || c.State == store.ContainerReady) {
		kept, err := keep.list(tx, c, now)
		if err != nil {
			return left, err
		}
		if kept {
			left.Kept = c
		} else {
			stopEmpty(c, owner, now)
		}
	}
	if c.State == store.ContainerStopping && c.Sessions == 0 {
		left.Stopping = c
	}
	return left, tx.Put(c)
}
