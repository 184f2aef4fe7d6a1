package session_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
)

// TestCallerWhoGivesUpDoesNotWaitForAnUndoingThatHangs: CreateSession returns soon after its context has ended. Its
// work is undone later, as soon as that is possible.
func TestCallerWhoGivesUpDoesNotWaitForAnUndoingThatHangs(t *testing.T) {
	for _, c := range []struct {
		name string
		hang func(w *world.World)
	}{
		{"the checkout cannot be removed", func(w *world.World) { w.Engine.Hang(fake.CloseSession) }},
		{"the container cannot be removed", func(w *world.World) { w.Engine.Hang(fake.Remove) }},
		{"the host does not answer", func(w *world.World) { w.Engine.HangHost(w.InstanceRecords()[0].ID) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
				w.Engine.Hang(fake.Open)
				ctx, cancel := context.WithCancelCause(t.Context())
				created := world.Creating(ctx, w.Provider, world.Request("t", world.RepoA))
				time.Sleep(time.Minute)
				w.Pending(created, "its checkout hangs")
				c.hang(w)
				gaveUp := errors.New("gave up")
				cancel(gaveUp)
				begun := time.Now()
				world.After(5 * time.Second)
				var r world.Result
				select {
				case r = <-created:
				default:
					t.Fatal("CreateSession waits until its work is undone")
				}
				if took := time.Since(begun); took > 5*time.Second || !errors.Is(r.Err, gaveUp) {
					t.Errorf("%v after %v", r.Err, took)
				}
				world.After(10 * time.Second)
				if len(w.OpenSessions()) == 0 && len(w.Engine.Containers()) == 0 {
					t.Error("nothing hangs, so the test tests nothing")
				}
				w.Engine.Heal()
				world.After(5 * time.Minute)
				w.Empty()
				w.Create("t", world.RepoA)
			})
		})
	}
}
