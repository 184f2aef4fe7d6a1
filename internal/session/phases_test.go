package session_test

import (
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
)

func TestRecordHasThePhasesOfItsStart(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{Image: "work:1"}}, func(t *testing.T, w *world.World) {
		read := func(s *berth.Session) (r *store.Session) {
			t.Helper()
			w.View(func(v store.View) (err error) {
				r, err = store.Get[*store.Session](v, store.SessionKey(s.ID()))
				return err
			})
			return r
		}
		cold := read(w.Create("cold", world.RepoA))
		p := cold.Phases
		if sum := p.Pull + p.Create + p.Fetch + p.Checkout; p.Create <= 0 || p.Fetch <= 0 || p.Checkout <= 0 || sum > cold.Took {
			t.Errorf("a cold start of %v has the phases %+v", cold.Took, p)
		}
		attached := read(w.Create("attached", world.RepoA))
		if p := attached.Phases; p.Pull != 0 || p.Create != 0 || p.Checkout <= 0 || p.Fetch+p.Checkout > attached.Took {
			t.Errorf("an attached start of %v has the phases %+v", attached.Took, p)
		}
		for _, c := range w.ContainerRecords() {
			if c.Image != "work:1" || c.Phases.Create != p.Create || c.Phases.Checkout != 0 {
				t.Errorf("the container has the image %q and the phases %+v", c.Image, c.Phases)
			}
		}
	})
}
