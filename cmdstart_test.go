package berth_test

import (
	"errors"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
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
