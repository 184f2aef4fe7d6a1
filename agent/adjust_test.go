package agent_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent"
)

// TestWhoGoesFirstWhenMemoryRunsOut: git and its helpers, then the sessions' commands, then the agent.
func TestWhoGoesFirstWhenMemoryRunsOut(t *testing.T) {
	r := start(t)
	adjust := func(pid string) string {
		text, _ := os.ReadFile(filepath.Join("/proc", pid, "oom_score_adj"))
		return strings.TrimSpace(string(text))
	}
	own := adjust(filepath.Base(filepath.Dir(r.agent.Inside("")))) // /proc/PID/root
	if want := adjust("self"); own != want {
		t.Errorf("the agent has %s, and its container %s", own, want)
	}
	r.session(t, "a", 10001)
	if out, _ := r.run(t, "a", "sleep 0.2; sh -c 'cat /proc/self/oom_score_adj'"); out != "500\n" {
		t.Errorf("a command's child has %q", out)
	}
	mirror := filepath.Join(r.agent.Dir, "mirror")
	found := make(chan string, 100)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		processes, _ := filepath.Glob("/proc/[0-9]*")
		for _, process := range processes {
			if cwd, err := os.Readlink(filepath.Join(process, "cwd")); err == nil && cwd == mirror {
				found <- adjust(filepath.Base(process))
			}
		}
		http.NotFound(w, req)
	}))
	t.Cleanup(server.Close)
	r.Fetch(testContext(t), agent.Fetch{URL: server.URL}, nil)
	if len(found) < 2 {
		t.Fatal("git has no helper")
	}
	for len(found) > 0 {
		if adj := <-found; adj != "700" {
			t.Errorf("a git has %s", adj)
		}
	}
}
