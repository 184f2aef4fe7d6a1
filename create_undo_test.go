package berth_test

import (
	"context"
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth/fake"
)

// TestCallerWhoGivesUpDoesNotWaitForAnUndoingThatHangs: CreateSession returns soon after its context has ended, and what
// it had begun is undone all the same, once that is possible.
func TestCallerWhoGivesUpDoesNotWaitForAnUndoingThatHangs(t *testing.T) {
	for _, c := range []struct {
		name string
		hang func(w *world)
	}{
		{"the checkout cannot be removed", func(w *world) { w.engine.Hang(fake.CloseSession) }},
		{"the container cannot be removed", func(w *world) { w.engine.Hang(fake.Remove) }},
		{"the host does not answer", func(w *world) { w.engine.HangHost(w.instances()[0].ID) }},
	} {
		t.Run(c.name, func(t *testing.T) {
			inWorld(t, setup{}, func(t *testing.T, w *world) {
				w.engine.Hang(fake.Open)
				ctx, cancel := context.WithCancelCause(t.Context())
				created := w.creating(ctx, w.Provider, asking("t", repoA))
				time.Sleep(time.Minute)
				w.pending(created, "its checkout hangs")
				c.hang(w)
				gaveUp := errors.New("gave up")
				cancel(gaveUp)
				begun := time.Now()
				after(5 * time.Second)
				var r result
				select {
				case r = <-created:
				default:
					t.Fatal("it waits for its undoing")
				}
				if took := time.Since(begun); took > 5*time.Second || !errors.Is(r.err, gaveUp) {
					t.Errorf("%v after %v", r.err, took)
				}
				after(10 * time.Second)
				if len(w.alive()) == 0 && len(w.engine.Containers()) == 0 {
					t.Error("nothing hangs: this tries nothing")
				}
				w.engine.Heal()
				after(5 * time.Minute)
				w.empty()
				w.create("t", repoA)
			})
		})
	}
}
