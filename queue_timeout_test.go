package berth_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

// TestQueueTimeoutCountsAllThatATaskHasWaited: a task whose place is lost before it is in it waits again, but not for
// the whole QueueTimeout again. What it spent outside of the queue does not count.
func TestQueueTimeoutCountsAllThatATaskHasWaited(t *testing.T) {
	const most = 2 * time.Minute
	inWorld(t, setup{Config: berth.Config{QueueTimeout: most}}, func(t *testing.T, w *world) {
		w.cloud.SetCapacity(0)
		w.engine.Hang(fake.Open)
		c := w.creating(t.Context(), w.Provider, asking("t", repoA))
		after(time.Minute)
		w.cloud.SetCapacity(1)
		after(time.Minute)
		w.pending(c, "its checkout hangs")
		w.cloud.SetCapacity(0)
		w.cloud.Vanish(w.instances()[0].ID)
		r := <-c
		end := time.Now()
		if !errors.Is(r.err, berth.ErrNoCapacity) {
			t.Fatal(r.err)
		}
		var queued []time.Time
		var waits []time.Duration
		for _, e := range w.of(berth.EventSessionQueued, berth.EventSessionPlaced) {
			if e.Type == berth.EventSessionQueued {
				queued = append(queued, e.Time)
			} else {
				waits = append(waits, e.Time.Sub(queued[len(queued)-1]))
			}
		}
		if len(queued) != 2 || len(waits) != 1 || waits[0] < time.Minute {
			t.Fatalf("it was queued at %v, and waited for %v", queued, waits)
		}
		if total := waits[0] + end.Sub(queued[1]); total != most {
			t.Errorf("it waited for %v and %v, %v of %v", waits[0], end.Sub(queued[1]), total, most)
		}
		w.engine.Heal()
		w.empty()
	})
}
