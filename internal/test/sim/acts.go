package sim

import (
	"context"
	"errors"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/store"
)

// acted checks a call at the moment of its effect: the replica must own the container, or the session in it, at that
// moment.
func (r *rules) acted(c fake.Call) {
	me := r.fences.id(c.Actor)
	err := r.world.store.View(context.Background(), func(v store.View) error {
		switch c.Verb {
		case fake.Remove:
			all, err := v.Containers(store.ContainerQuery{Instance: c.Host, Page: store.Page{Limit: store.MaxLimit}})
			for _, there := range all {
				if there.Name == c.Container && (there.Owner != me || there.State != store.ContainerStopping) {
					r.broken("%s removes container %s, which is %s, of %s", c.Actor, c.Container, there.State, there.Owner)
				}
			}
			return err
		case fake.Open, fake.CloseSession:
			s, err := store.Get[*store.Session](v, store.SessionKey(c.Session))
			if errors.Is(err, store.ErrNotFound) {
				return nil // it closes a leftover
			}
			begun := err == nil && (s.State == store.SessionCreating || s.State == store.SessionTerminating)
			if err == nil && (begun && s.Owner != me || s.State == store.SessionActive) {
				r.broken("%s calls %s for session %s, which is %s, of %s", c.Actor, c.Verb, s.ID, s.State, s.Owner)
			}
			return err
		}
		return nil
	})
	if err != nil {
		r.broken("the store cannot be read: %v", err)
	}
}

// known checks that each machine of the pool that costs money has a record, unless the cloud has denied the launch.
func (r *rules) known(s *audit.Snapshot) {
	for _, m := range r.world.cloud.Machines() {
		_, lied := r.world.meddler.lieCount(m.LaunchID)
		if !m.Foreign && m.Ended.IsZero() && s.Instances[m.LaunchID] == nil && !lied {
			r.broken("no record knows of machine %s, which is %s since %v", m.LaunchID, m.State, m.Launched)
		}
	}
}
