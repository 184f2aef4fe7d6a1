package session_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
)

// TestFault26SessionsAreToldOfAnInterruption: an event reports the notice, and Done is closed at the end. New sessions
// meanwhile go to another instance.
func TestFault26SessionsAreToldOfAnInterruption(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxInstances: 2}}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		doomed := w.InstanceRecords()[0].ID
		w.Cloud.Reclaim(doomed, 2*time.Minute)
		world.After(30 * time.Second)
		told := 0
		for _, e := range w.Events() {
			if e.Type == berth.EventSessionEndangered {
				told++
				if e.SessionID != s.ID() || e.TaskID != "t" || e.Instance != doomed || e.Err == nil {
					t.Errorf("the event is %+v", e)
				}
			}
		}
		if told != 1 {
			t.Errorf("there were %d events", told)
		}
		select {
		case <-s.Done():
			t.Error("it ended before the two minutes were over")
		default:
		}
		if err := s.Command(t.Context(), "true").Run(); err != nil {
			t.Errorf("a command after the notice: %v", err)
		}
		other := w.Create("other", world.RepoA)
		if other.Info().Instance.ID == doomed {
			t.Error("a new session was placed on the interrupted instance")
		}
		world.After(2 * time.Minute)
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
