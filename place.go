package berth

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// errNeedsInstance says that place must be tried again with fresh candidates.
var errNeedsInstance = errors.New("no candidate has a free slot")

// placeTries bounds how often one session is placed again after somebody else was faster, or its container died under it.
const placeTries = 3

// place gives a session its slot and its container, as one step of a transaction: in the joinable container of its
// sharing key, or in a new one on one of the candidates. It reports whether it could; the caller puts the session.
// errNeedsInstance asks for (fresh) candidates, unless this is the last try. newID is the ID of a container that may be
// made; most is how many its sharing key may have, by the pool's record.
func (p *Provider) place(tx store.Tx, s *store.Session, candidates []string, newID string, most int, last bool, now time.Time) (bool, error) {
	sharing, err := store.Find[*store.Sharing](tx, store.SharingKey(s.ContainerName))
	if err != nil {
		return false, err
	}
	if sharing == nil {
		sharing = &store.Sharing{ID: s.ContainerName, SharingKey: s.SharingKey}
	}
	joinable := 0
	var spare *store.Container    // one that was superseded, runs where there is room, and may be the last that is left
	removing := false             // one of its containers is being removed: the next takes its place, where the mirror is
	var busy []string             // instances that have a container of this name
	var beside []*store.Container // those containers that cannot be joined, although they run
	for _, id := range sharing.Containers {
		c, in, err := containerAndInstance(tx, id)
		if err != nil {
			return false, err
		}
		if c == nil || in == nil {
			continue
		}
		busy = append(busy, in.ID)
		if !orchestrator.Joinable(c, in) {
			removing = removing || in.State == store.InstanceReady && !c.Superseded
			switch {
			case c.State == store.ContainerStopping:
			case c.Superseded && in.State == store.InstanceReady && pool.HasSlot(in):
				spare = c
			case !c.Superseded:
				beside = append(beside, c)
			}
			continue
		}
		joinable++
		if pool.HasSlot(in) {
			return true, join(tx, c, nil, s)
		}
	}
	if removing || joinable >= most {
		return false, nil
	}
	if spare != nil {
		spare.Superseded = false
		return true, join(tx, spare, beside, s)
	}
	if candidates == nil && !last {
		return false, errNeedsInstance
	}
	for _, id := range candidates {
		if slices.Contains(busy, id) {
			continue
		}
		s.UID, err = pool.Place(tx, id)
		if errors.Is(err, pool.ErrNoSlot) {
			continue
		}
		if err != nil {
			return false, err
		}
		if err := count(tx, s.UserID, 1); err != nil {
			return false, err
		}
		return true, orchestrator.Create(tx, newID, sharing, beside, s, id, now)
	}
	if len(candidates) == 0 || last {
		return false, nil
	}
	return false, errNeedsInstance // somebody was faster
}

// join gives a session its slot in a container that is there. It supersedes those beside it.
func join(tx store.Tx, c *store.Container, beside []*store.Container, s *store.Session) (err error) {
	if s.UID, err = pool.Place(tx, c.Instance); err != nil {
		return err
	}
	if err := count(tx, s.UserID, 1); err != nil {
		return err
	}
	if c.State == store.ContainerReady {
		s.Start = string(StartAttached)
	}
	return orchestrator.Join(tx, c, beside, s)
}

// count adds to the number of slots that a user holds.
func count(tx store.Tx, userID string, n int) error {
	user, err := store.Find[*store.User](tx, store.UserKey(userID))
	if err != nil {
		return err
	}
	if user == nil {
		user = &store.User{ID: userID}
	}
	if user.Sessions += n; user.Sessions <= 0 {
		return tx.Delete(user.Key())
	}
	return tx.Put(user)
}

func containerAndInstance(g store.Getter, id string) (*store.Container, *store.Instance, error) {
	c, err := store.Find[*store.Container](g, store.ContainerKey(id))
	if err != nil || c == nil {
		return nil, nil, err
	}
	in, err := store.Find[*store.Instance](g, store.InstanceKey(c.Instance))
	return c, in, err
}

// unplace takes back what place gave, as one step of a transaction; the caller puts the session. It returns the
// container if it is now to be stopped.
func (p *Provider) unplace(tx store.Tx, s *store.Session, now time.Time) (*store.Container, error) {
	stopping, err := orchestrator.Leave(tx, s.Container, p.replica, now)
	if err != nil {
		return nil, err
	}
	if err := count(tx, s.UserID, -1); err != nil {
		return nil, err
	}
	return stopping, pool.Release(tx, s.Instance, s.UID, now)
}

// requeue takes a session out of a container that died before the session was in it, and lets it wait for another. It
// returns the session as it is now stored.
func (p *Provider) requeue(ctx context.Context, s *store.Session) (*store.Session, error) {
	var stopping *store.Container
	var seq uint64
	now := time.Now()
	keys := []store.Key{
		s.Key(), store.PoolKey(), store.ContainerKey(s.Container), store.InstanceKey(s.Instance), store.UserKey(s.UserID),
	}
	from := s
	err := p.persist(ctx, keys, func(tx store.Tx) (err error) {
		if s, err = store.Get[*store.Session](tx, from.Key()); err != nil {
			return err
		}
		seq = 0
		switch {
		case s.State != store.SessionCreating:
			return ErrTerminated
		case s.Container != from.Container: // an earlier try was committed
			stopping, err = p.ourStopping(tx, from.Container)
			return err
		}
		record, err := store.Get[*store.Pool](tx, store.PoolKey())
		if err != nil {
			return err
		}
		if stopping, err = p.unplace(tx, s, now); err != nil {
			return err
		}
		s.Container, s.Instance, s.UID, s.Start, s.Queued = "", "", 0, "", true
		if seq, err = joinQueue(tx, record); err != nil {
			return err
		}
		return tx.Put(s)
	})
	if err != nil {
		return nil, err
	}
	p.line.came(seq, s)
	if stopping != nil {
		p.orch.Start(stopping.ID, orchestrator.Credential{}) // its keeper sees that it is to be removed
	}
	p.wakeUp()
	return s, nil
}
