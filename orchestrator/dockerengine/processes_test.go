package dockerengine

import (
	"testing"

	"github.com/berth-go/berth/orchestrator"
)

func TestProcessesOfAContainer(t *testing.T) {
	for _, c := range []struct {
		pids     int64
		sessions int
		all      int64
		session  int
	}{
		{0, 0, 256 + 10*1024, 1024},
		{0, 3, 256 + 3*1024, 1024},
		{-1, 10, -1, 1024},
		{4096, 10, 4096, 384},
		{4096, 1, 4096, 1024},
		{1024, 1, 1024, 768},
		{1024, 4, 1024, 192},
		{512, 4, 512, 128}, // too few for a promise
	} {
		all, session := processes(orchestrator.ContainerSpec{Sessions: c.sessions, Limits: orchestrator.Limits{PIDs: c.pids}})
		if all != c.all || session != c.session {
			t.Errorf("of %d for %d sessions: %d, and %d each; want %d and %d", c.pids, c.sessions, all, session, c.all, c.session)
		}
	}
}
