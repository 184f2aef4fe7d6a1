package berth_test

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
)

func TestStartWithoutArgs(t *testing.T) {
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
		cmd := s.Command(t.Context(), "true")
		cmd.Args = nil
		if err := cmd.Run(); !errors.Is(err, agent.ErrNotExecutable) {
			t.Errorf("Run without Args: %v", err)
		}
	})
}

// TestStartGivesUp: after a minute, with an error that is not taken for the end of the caller's own context.
func TestStartGivesUp(t *testing.T) {
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
		w.engine.Hang(fake.Start)
		took := took(t)
		err := s.Command(t.Context(), "true").Start()
		took("Start", time.Minute, 61*time.Second)
		if err == nil || errors.Is(err, context.DeadlineExceeded) || !strings.Contains(err.Error(), "has not answered for 1m0s") {
			t.Errorf("Start: %v", err)
		}
	})
}

func TestStartWhileTheProviderIsClosed(t *testing.T) {
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
		w.engine.Hang(fake.Start)
		started := make(chan error, 1)
		go func() { started <- s.Command(t.Context(), "true").Start() }()
		synctest.Wait()
		w.Close()
		if err := <-started; !errors.Is(err, berth.ErrClosed) {
			t.Errorf("Start: %v", err)
		}
	})
}
