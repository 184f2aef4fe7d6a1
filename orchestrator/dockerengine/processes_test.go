package dockerengine

import (
	"testing"

	"github.com/berth-go/berth/orchestrator"
)

func TestProcessesOfAContainer(t *testing.T) {
	for _, c := range []struct {
		pids     int64
		each     int64 // Session.PIDs
		sessions int
		all      int64
		session  int
	}{
		{0, 0, 0, 256 + 10*(1024+32), 1024},
		{0, 0, 3, 256 + 3*(1024+32), 1024},
		{-1, 0, 10, -1, 1024},
		{4096, 0, 10, 4096, 352},
		{4096, 0, 1, 4096, 1024},
		{1024, 0, 1, 1024, 736},
		{1024, 0, 4, 1024, 160},
		{512, 0, 4, 512, 128}, // too few: the agent's share is not guaranteed
		{0, 2000, 3, 256 + 3*(2000+32), 2000},
		{4096, 2000, 10, 4096, 2000}, // more than a share: asked for
		{4096, -1, 10, 4096, 4_000_000},
		{0, -1, 10, -1, 4_000_000},
		{-1, 50, 10, -1, 50},
	} {
		all, session := processes(orchestrator.ContainerSpec{Sessions: c.sessions, Limits: orchestrator.Limits{
			PIDs: c.pids, Session: orchestrator.SessionLimits{PIDs: c.each},
		}})
		if all != c.all || session != c.session {
			t.Errorf("of %d, %d each, for %d sessions: %d, and %d each; want %d and %d", c.pids, c.each, c.sessions, all, session, c.all, c.session)
		}
	}
}
