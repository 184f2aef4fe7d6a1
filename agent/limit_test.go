package agent_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent/internal/agenttest"
)

// The Go runtime raises its own soft limit and gives children the one that it found, so each case gives that one.
func TestCommandsMayOpenManyFiles(t *testing.T) {
	for name, c := range map[string]struct {
		setup string
		args  []string
		most  int
	}{
		"the default":                       {"ulimit -Sn 300", nil, 65536},
		"less than the soft limit":          {"ulimit -Sn 300", []string{"-max-files=200"}, 200},
		"more than the soft limit":          {"ulimit -Sn 300", []string{"-max-files=400"}, 400},
		"more than the hard limit":          {"ulimit -Sn 300; ulimit -Hn 500", []string{"-max-files=600"}, 600},
		"one less than the hard limit":      {"ulimit -Sn 300; ulimit -Hn 500", []string{"-max-files=499"}, 499},
		"where soft and hard limit are one": {"ulimit -n 500", []string{"-max-files=400"}, 400},
	} {
		t.Run(name, func(t *testing.T) {
			a := agenttest.StartAfter(t, c.setup+"; ulimit -Hn >hard", c.args...)
			r := startOn(t, a)
			r.session(t, "s", 10001)
			out, _ := r.run(t, "s", "ulimit -Sn; ulimit -Hn; cat "+a.Dir+"/hard")
			var soft, hard, found int
			if _, err := fmt.Sscan(out, &soft, &hard, &found); err != nil {
				t.Fatalf("%q: %v", strings.TrimSpace(out), err)
			}
			if soft != min(c.most, found) || hard != found {
				t.Errorf("soft limit %d, hard limit %d; the agent found a hard limit of %d", soft, hard, found)
			}
		})
	}
}
