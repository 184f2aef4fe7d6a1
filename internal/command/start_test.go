package command_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
)

func TestStartWithoutArgs(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		cmd := s.Command(t.Context(), "true")
		cmd.Args = nil
		if err := cmd.Run(); !errors.Is(err, agent.ErrNotExecutable) {
			t.Errorf("Run without Args: %v", err)
		}
	})
}

// TestStartGivesUp: Start returns after a minute, with an error that is not the end of the caller's context.
func TestStartGivesUp(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		w.Engine.Hang(fake.Start)
		took := took(t)
		err := s.Command(t.Context(), "true").Start()
		took("Start", time.Minute, 61*time.Second)
		if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "has not answered for 1m0s") {
			t.Errorf("Start: %v", err)
		}
	})
}

func TestStartWhileTheProviderIsClosed(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		w.Engine.Hang(fake.Start)
		started := make(chan error, 1)
		go func() { started <- s.Command(t.Context(), "true").Start() }()
		synctest.Wait()
		w.Close()
		if err := <-started; !errors.Is(err, berth.ErrClosed) {
			t.Errorf("Start: %v", err)
		}
	})
}
