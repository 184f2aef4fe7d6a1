package session_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
)

const filled = "disk: used 11.0 GiB of 10.0 GiB"

// TestASessionThatFillsTheDisk checks what everybody is told of a session that its agent has ended.
func TestASessionThatFillsTheDisk(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		other, neighbour := w.NewProvider(), w.Create("neighbour", world.RepoA)
		there := world.Get(t, other, s.ID())
		cmd := s.Command(t.Context(), "sleep")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		if !w.Engine.FillDisk(s.Info().Container.Name, s.ID(), filled) {
			t.Fatal("the fake has no such session")
		}
		if err := cmd.Wait(); !errors.Is(err, berth.ErrOverLimit) || !strings.Contains(err.Error(), filled) {
			t.Errorf("the command ended with %v", err)
		}
		for _, s := range []*berth.Session{s, there} {
			<-s.Done()
			if !errors.Is(s.Err(), berth.ErrOverLimit) || !strings.Contains(s.Err().Error(), filled) {
				t.Errorf("the session ended with %v", s.Err())
			}
		}
		if err := s.Command(t.Context(), "true").Run(); !errors.Is(err, berth.ErrOverLimit) || berth.Retryable(err) {
			t.Errorf("a later command: %v", err)
		}
		if err := neighbour.Command(t.Context(), "true").Run(); err != nil {
			t.Errorf("a neighbour: %v", err)
		}
		world.After(time.Second)
		told := 0
		for _, e := range w.Events() {
			if e.Type == berth.EventSessionEnded && errors.Is(e.Err, berth.ErrOverLimit) {
				told++
			}
		}
		if told != 1 {
			t.Errorf("%d events say so", told)
		}
		if _, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA)); err != nil {
			t.Errorf("the task again: %v", err)
		}
	})
}

// TestAnIdleSessionThatFilledTheDiskEnds has no command that could tell: the process is told by the agent.
func TestAnIdleSessionThatFilledTheDiskEnds(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		w.Engine.FillDisk(s.Info().Container.Name, s.ID(), filled)
		<-s.Done()
		if !errors.Is(s.Err(), berth.ErrOverLimit) || !strings.Contains(s.Err().Error(), filled) {
			t.Errorf("the session ended with %v", s.Err())
		}
	})
}
