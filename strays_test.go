package berth_test

import (
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/store"
)

// TestSessionsThatNobodyKnowsAreClosed forgets a session, as a store does that is set back to a backup: its place in the
// container, and with it its uid, is free again when the next process uses that container.
func TestSessionsThatNobodyKnowsAreClosed(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world) {
		kept, lost := w.create("kept", repoA), w.create("lost", repoA)
		w.Close()
		err := w.store.Update(t.Context(), nil, func(tx store.Tx) error {
			s, err := store.Get[*store.Session](tx, store.SessionKey(lost.ID()))
			if err != nil {
				return err
			}
			c, err := store.Get[*store.Container](tx, store.ContainerKey(s.Container))
			if err != nil {
				return err
			}
			in, err := store.Get[*store.Instance](tx, store.InstanceKey(s.Instance))
			if err != nil {
				return err
			}
			user, err := store.Get[*store.User](tx, store.UserKey(s.UserID))
			if err != nil {
				return err
			}
			c.Sessions--
			user.Sessions--
			in.Sessions--
			in.UIDs.Free(s.UID)
			for _, r := range []store.Record{c, in, user} {
				if err := tx.Put(r); err != nil {
					return err
				}
			}
			if err := tx.Delete(s.Key()); err != nil {
				return err
			}
			return tx.Delete(store.TaskKey("lost"))
		})
		if err != nil {
			t.Fatal(err)
		}
		w.Provider = w.provider()
		next := w.create("next", repoA)
		open := make(map[string]bool)
		for _, c := range w.engine.Containers() {
			for _, s := range c.Sessions {
				open[s.ID] = true
			}
		}
		if len(open) != 2 || !open[kept.ID()] || !open[next.ID()] {
			t.Errorf("open are %v; want %s and %s", open, kept.ID(), next.ID())
		}
	})
}
