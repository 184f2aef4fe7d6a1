package agent_test

import (
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

func TestServeCommand(t *testing.T) {
	limits := agent.SessionLimits{MemoryBytes: 1, CPUWeight: 2, TmpBytes: 3, VarTmpBytes: 4, ShmBytes: 5, Inodes: 6, PTYs: 7}
	for _, c := range []struct {
		options agent.ServeOptions
		want    string
	}{
		{agent.ServeOptions{}, ""},
		{agent.ServeOptions{MaxProcesses: 5, OrphanTimeout: time.Hour}, " -max-processes=5 -orphan-timeout=1h0m0s"},
		{agent.ServeOptions{OrphanTimeout: -1}, " -orphan-timeout=0s"},
		{agent.ServeOptions{Session: limits}, ""}, // nobody could enforce them
		{agent.ServeOptions{Warden: true}, " -warden=/berth/warden/warden.sock"},
		{agent.ServeOptions{Warden: true, Session: limits}, " -warden=/berth/warden/warden.sock -session-memory=1 -session-cpu-weight=2" +
			" -session-tmp=3 -session-var-tmp=4 -session-shm=5 -session-inodes=6 -session-ptys=7"},
	} {
		if got := strings.Join(agent.ServeCommand(c.options), " "); got != agent.Program+" serve"+c.want {
			t.Errorf("%+v: %s", c.options, got)
		}
	}
}
