package berth_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
)

// TestFault26SessionsAreToldOfAnInterruption: at the notice by an event, at the end by Done. What comes meanwhile goes
// elsewhere.
func TestFault26SessionsAreToldOfAnInterruption(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MaxInstances: 2}}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		doomed := w.instances()[0].ID
		w.cloud.Reclaim(doomed, 2*time.Minute)
		after(30 * time.Second)
		told := 0
		for _, e := range w.seen() {
			if e.Type == berth.EventSessionEndangered {
				told++
				if e.SessionID != s.ID() || e.TaskID != "t" || e.Instance != doomed || e.Err == nil {
					t.Errorf("the event is %+v", e)
				}
			}
		}
		if told != 1 {
			t.Errorf("it was told %d times", told)
		}
		select {
		case <-s.Done():
			t.Error("its two minutes are not over")
		default:
		}
		if err := s.Command(t.Context(), "true").Run(); err != nil {
			t.Errorf("it can still save its work: %v", err)
		}
		other := w.create("other", repoA)
		if other.Info().Instance.ID == doomed {
			t.Error("another was placed on the instance that is taken back")
		}
		after(2 * time.Minute)
		select {
		case <-s.Done():
		default:
			t.Fatal("it has not ended with its instance")
		}
		if err := s.Err(); !errors.Is(err, berth.ErrInstanceLost) || !strings.Contains(err.Error(), "Spot") {
			t.Error(err)
		}
	})
}
