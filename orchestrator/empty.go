package orchestrator

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// An empty container takes the room of one slot: an instance never has more sessions and empty containers together than slots.
// So an empty container is given up in the transaction that places one session too many.

// StateEmpty is what Manager.States, and all that shows containers, call the state of one that is ready and that no session
// holds. No record holds it.
const StateEmpty store.ContainerState = "empty"

// StateOf returns the state of a container, or StateEmpty.
func StateOf(c *store.Container) store.ContainerState {
	if c.State == store.ContainerReady && c.Sessions == 0 {
		return StateEmpty
	}
	return c.State
}

// Keep says which containers stay when their last session has left. The zero Keep keeps none.
type Keep struct {
	// Timeout is for how long. Negative = until the room is needed, 0 = none stays but those that a host wants to be warm.
	Timeout time.Duration
	// Fits reports whether a container is as this process would start it now: see Manager.Fits.
	Fits func(*store.Container, *store.Instance) bool
}

// list lists a container that has just become empty, if it is to stay. It reports whether it does. The caller puts c. The
// instance still counts the session that leaves.
func (k Keep) list(tx store.Tx, c *store.Container, now time.Time) (bool, error) {
	if k.Fits == nil || k.Timeout == 0 && !c.WarmUntil.After(now) || c.State != store.ContainerReady || c.Superseded || c.SharingKey.Private() {
		return false, nil
	}
	in, err := store.Find[*store.Instance](tx, store.InstanceKey(c.Instance))
	if err != nil || !TakesEmpty(in) || in.Sessions+len(in.Empties) > in.Slots || !k.Fits(c, in) {
		return false, err
	}
	in.Empties = append(in.Empties, listed(c, now))
	return true, tx.Put(in)
}

// listed is a container as its instance lists it.
func listed(c *store.Container, since time.Time) store.Empty {
	return store.Empty{Container: c.ID, Repository: c.SharingKey.Repository, Since: since, WarmUntil: c.WarmUntil}
}

// CreateWarm stores a new container that no session holds, and lists it on its instance. It is a step of a transaction, which has
// found that the instance has room for it: see HasRoom. This process, whose name is owner, starts it. c.WarmUntil is set.
func CreateWarm(tx store.Tx, c *store.Container, sharing *store.Sharing, in *store.Instance, now time.Time) error {
	c.Name, c.SharingKey, c.Instance = sharing.ID, sharing.SharingKey, in.ID
	c.State, c.Since, c.CreatedAt = store.ContainerStarting, now, now
	sharing.Containers = append(sharing.Containers, c.ID)
	in.Empties = append(in.Empties, listed(c, now))
	if err := tx.Put(sharing); err != nil {
		return err
	}
	if err := tx.Put(in); err != nil {
		return err
	}
	return tx.Put(c)
}

// HasRoom reports whether an instance has room for one more empty container.
func HasRoom(in *store.Instance) bool {
	return TakesEmpty(in) && in.Sessions+len(in.Empties) < in.Slots
}

// SetWarm sets until when a host wants a container up; zero = no longer. It is a step of a transaction.
func SetWarm(tx store.Tx, c *store.Container, until time.Time) error {
	c.WarmUntil = until
	if err := tx.Put(c); err != nil {
		return err
	}
	in, err := store.Find[*store.Instance](tx, store.InstanceKey(c.Instance))
	if err != nil || in == nil {
		return err
	}
	for i, e := range in.Empties {
		if e.Container == c.ID {
			in.Empties[i].WarmUntil = until
			return tx.Put(in)
		}
	}
	return nil
}

// Freshen fetches the repository of a container that is ready, whatever the age of its mirror. cred may be empty. The errors are
// those of Manager.Refresh.
func Freshen(ctx context.Context, m *Manager, c *store.Container, inside Inside, branch string, cred Credential) error {
	s := &store.Session{Container: c.ID, ContainerName: c.Name, SharingKey: c.SharingKey, Instance: c.Instance, Remote: c.Remote}
	_, err := m.fetchFor(ctx, s, inside, cred, agent.Fetch{Branch: branch})
	return err
}

// TakesEmpty reports whether an instance may have empty containers: whether it takes sessions, apart from its slots.
func TakesEmpty(in *store.Instance) bool {
	return in != nil && in.State == store.InstanceReady && !in.Drain && in.Wish == ""
}

// stopEmpty marks a container without sessions as stopping. If another replica is starting it, that one removes it.
func stopEmpty(c *store.Container, owner string, now time.Time) {
	if c.State == store.ContainerReady {
		c.Owner = owner
	}
	c.State, c.Since = store.ContainerStopping, now
}

// GiveUp marks a container as stopping if no session holds it, and takes it off its instance's list of empty containers. It is
// a step of a transaction. owner is the replica that removes the container: see Resume. The result is nil if the container is
// not empty any more, or is stopping already.
func GiveUp(tx store.Tx, container, owner string, now time.Time) (*store.Container, error) {
	c, err := store.Find[*store.Container](tx, store.ContainerKey(container))
	if err != nil || c == nil || c.Sessions > 0 || c.State == store.ContainerStopping {
		return nil, err
	}
	if err := store.UnlistEmpty(tx, c.Instance, c.ID); err != nil {
		return nil, err
	}
	stopEmpty(c, owner, now)
	return c, tx.Put(c)
}

// MakeRoom gives up empty containers of an instance until these and its sessions are no more than its slots. Those that no host
// wants to be warm go first, and of these the ones that have been empty for longest. It is a step of the transaction that places a session, and returns what it has given up.
func MakeRoom(tx store.Tx, instance, owner string, now time.Time) (gaveUp []*store.Container, err error) {
	in, err := store.Find[*store.Instance](tx, store.InstanceKey(instance))
	if err != nil || in == nil {
		return nil, err
	}
	surplus := min(in.Sessions+len(in.Empties)-in.Slots, len(in.Empties))
	if surplus <= 0 {
		return nil, nil
	}
	order := slices.SortedFunc(slices.Values(in.Empties), func(a, b store.Empty) int {
		if warm := a.WarmUntil.After(now); warm != b.WarmUntil.After(now) {
			if warm {
				return 1
			}
			return -1
		}
		return a.Since.Compare(b.Since)
	})
	for _, e := range order[:surplus] {
		c, err := GiveUp(tx, e.Container, owner, now)
		if err != nil {
			return nil, err
		}
		if c != nil {
			gaveUp = append(gaveUp, c)
			continue
		}
		// A process of an older version does not take off the list what its session joins.
		if err := store.UnlistEmpty(tx, instance, e.Container); err != nil {
			return nil, err
		}
	}
	return gaveUp, nil
}

// settingsOf returns a digest of all with which a container of a sharing key is started on an instance with so many slots.
func (c *Config) settingsOf(key naming.Key, slots int) (string, error) {
	image, err := c.imageOf(key.Repository)
	if err != nil {
		return "", err
	}
	egress, err := c.egressOf(key)
	if err != nil {
		return "", err
	}
	sum := sha256.Sum256(fmt.Appendf(nil, "%q %d %t %+v %+v %+v", image, slots, c.RequireIsolation, c.Limits, egress, c.Caches))
	return hex.EncodeToString(sum[:8]), nil
}

// fits compares containers with a Config.
type fits struct{ cfg *Config }

// Fits reports whether a container was started as this process would start it on the instance now. An empty container that
// does not fit is not joined. It makes no call.
func (f fits) Fits(c *store.Container, in *store.Instance) bool {
	if c.Settings == "" || in == nil || f.cfg.RequireIsolation && c.Isolation != store.IsolationRooms {
		return false
	}
	now, err := f.cfg.settingsOf(c.SharingKey, in.Slots)
	return err == nil && now == c.Settings
}
