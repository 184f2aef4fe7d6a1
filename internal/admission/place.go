package admission

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// Tries bounds how often one session is placed again because others were faster, or because its container died before the
// session was in it.
const Tries = 3

// errNeedsInstance says that an attempt must be repeated with candidates, or with fresh ones.
var errNeedsInstance = errors.New("no candidate has a free slot")

// attempt is one attempt to place a session. It is made outside of the transaction, which may run several times.
type attempt struct {
	candidates []string            // instances that may take a new container, the best first; nil = none were looked for yet
	newID      string              // of the container that may be made
	last       bool                // the session waits if this attempt finds no place
	gaveUp     *[]*store.Container // by the transaction, if it is committed: empty containers that are to be removed
}

// attempts runs a transaction that places a session of a container name, and repeats it with candidates for as long as it
// returns errNeedsInstance.
func (q *Queue) attempts(ctx context.Context, name string, run func(attempt) error) error {
	var candidates []string
	for try := 1; ; try++ {
		var gaveUp []*store.Container
		err := run(attempt{candidates, orchestrator.NewContainerID(), try > Tries, &gaveUp})
		if err == nil {
			q.remove(gaveUp)
		}
		if !errors.Is(err, errNeedsInstance) {
			return err
		}
		if candidates, err = q.candidates(ctx, name); err != nil {
			return err
		}
	}
}

// remove begins to remove containers that a transaction has given up. Those of other replicas are theirs to remove.
func (q *Queue) remove(gaveUp []*store.Container) {
	for _, c := range gaveUp {
		if c.Owner == q.cfg.Replica {
			q.cfg.Containers.Resume(c)
		}
	}
}

// candidates returns the instances that may take a new container. The result is not nil.
func (q *Queue) candidates(ctx context.Context, name string) (ids []string, err error) {
	err = q.cfg.Store.View(ctx, func(v store.View) error {
		sharing, err := store.Find[*store.Sharing](v, store.SharingKey(name))
		if err != nil {
			return err
		}
		ids, err = pool.Candidates(v, sharing)
		return err
	})
	return append([]string{}, ids...), err
}

// place gives a session its slot and its container, as one step of a transaction: it reads the containers of the session's
// sharing key, which may have as many as limit, chooses and applies the choice. It reports whether the session has a
// place; the caller puts the session. errNeedsInstance: the attempt is to be repeated with fresh candidates.
func (q *Queue) place(tx store.Tx, s *store.Session, a attempt, limit int) (bool, error) {
	sharing, err := store.Find[*store.Sharing](tx, store.SharingKey(s.ContainerName))
	if err != nil {
		return false, err
	}
	if sharing == nil {
		sharing = &store.Sharing{ID: s.ContainerName, SharingKey: s.SharingKey}
	}
	var containers []existing
	for _, id := range sharing.Containers {
		c, in, err := store.FindContainer(tx, id)
		if err != nil {
			return false, err
		}
		if c != nil && in != nil {
			containers = append(containers, existing{c, in, c.Sessions == 0 && !q.cfg.Containers.Fits(c, in)})
		}
	}
	d := choose(containers, a.candidates, limit)
	for _, c := range d.giveUp {
		if err := q.giveUp(tx, c.ID, a); err != nil {
			return false, err
		}
	}
	placed := d.join != nil
	switch {
	case placed:
		err = join(tx, d.join, d.supersede, s)
	case !d.create:
		return false, nil
	default:
		placed, err = create(tx, sharing, d, s, a.newID)
	}
	if err == nil && placed {
		err = q.makeRoom(tx, s.Instance, a)
	}
	if err != nil || placed {
		return placed, err
	}
	if a.last || a.candidates != nil && len(a.candidates) == 0 {
		return false, nil
	}
	return false, errNeedsInstance
}

// giveUp gives up an empty container.
func (q *Queue) giveUp(tx store.Tx, container string, a attempt) error {
	c, err := orchestrator.GiveUp(tx, container, q.cfg.Replica, time.Now())
	if c != nil {
		*a.gaveUp = append(*a.gaveUp, c)
	}
	return err
}

// makeRoom gives up empty containers of an instance whose slot a session has taken.
func (q *Queue) makeRoom(tx store.Tx, instance string, a attempt) error {
	gaveUp, err := orchestrator.MakeRoom(tx, instance, q.cfg.Replica, time.Now())
	*a.gaveUp = append(*a.gaveUp, gaveUp...)
	return err
}

// join gives a session a slot in a container that is there.
func join(tx store.Tx, c *store.Container, supersede []*store.Container, s *store.Session) (err error) {
	if s.UID, err = pool.Place(tx, c.Instance); err != nil {
		return err
	}
	if err := countUser(tx, s.UserID, 1, 0, time.Now()); err != nil {
		return err
	}
	if c.State == store.ContainerReady {
		s.Start = store.StartAttached
	}
	s.Waited = waited(s, time.Now())
	c.Superseded = false
	return orchestrator.Join(tx, c, supersede, s)
}

// create gives a session a slot in a new container, on the first instance of the decision that has one. It reports whether
// any has.
func create(tx store.Tx, sharing *store.Sharing, d decision, s *store.Session, newID string) (bool, error) {
	for _, id := range d.instances {
		uid, err := pool.Place(tx, id)
		if errors.Is(err, pool.ErrNoSlot) {
			continue
		}
		if err != nil {
			return false, err
		}
		now := time.Now()
		s.UID, s.Waited = uid, waited(s, now)
		if err := countUser(tx, s.UserID, 1, 0, now); err != nil {
			return false, err
		}
		return true, orchestrator.Create(tx, newID, sharing, d.supersede, s, id, now)
	}
	return false, nil
}

// waited returns how long a session that now gets its place was in the queue. A session that was not has no time of its own,
// so that its record is smaller.
func waited(s *store.Session, now time.Time) time.Duration {
	if !s.Queued {
		return 0
	}
	return max(now.Sub(s.CreatedAt), 0).Truncate(time.Microsecond)
}
