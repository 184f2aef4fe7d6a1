package berth_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth"
)

// TestQueuedSessionWakesThePool: whoever waits for an instance does not wait for the pool's next look, too.
func TestQueuedSessionWakesThePool(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxInstances: 2, MaxTasksPerInstance: 1, SessionIdleTimeout: -1}}, func(t *testing.T, w *world) {
		w.create("a", repoA)
		after(time.Minute) // until the pool is quiet
		for range 3 {
			after(1100 * time.Millisecond)
			second := w.creating(t.Context(), w.Provider, asking("b", repoB))
			after(100 * time.Millisecond)
			if n := len(w.instances()); n != 2 {
				t.Errorf("100 ms after a session was queued there are %d instances, want 2", n)
			}
			r := <-second
			if r.err != nil {
				t.Fatal(r.err)
			}
			w.terminate(r.s)
			after(time.Hour) // the second instance goes
		}
	})
}
