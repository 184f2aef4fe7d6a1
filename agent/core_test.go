package agent_test

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent/internal/agenttest"
)

// crash ends its shell by a signal that dumps core. It asks for a core of any size first.
const crash = "ulimit -c unlimited 2>/dev/null; kill -SEGV $$"

// TestACrashLeavesNoCore: a core would hold the environment and the memory of the process. The limits also say that the
// kernel hands nothing to a program of core_pattern: see proc.LimitCores.
func TestACrashLeavesNoCore(t *testing.T) {
	t.Parallel()
	a := agenttest.StartAfter(t, "ulimit -c unlimited")
	r := startOn(t, a)
	r.session(t, "s", 10001)
	limits := func(of, text string) {
		t.Helper()
		for line := range strings.Lines(text) {
			if fields := strings.Fields(line); strings.HasPrefix(line, "Max core file size") && fields[4] == "1" && fields[5] == "1" {
				return
			}
		}
		t.Errorf("the limits of %s are\n%s", of, text)
	}
	own, err := os.ReadFile(a.Inside("/proc/1/limits"))
	if err != nil {
		t.Fatal(err)
	}
	limits("the agent", string(own))
	out, _ := r.run(t, "s", "cat /proc/self/limits")
	limits("a command", out)

	out, _ = r.run(t, "s", "exec 2>/dev/null; sh -c '"+crash+"'; echo status $?; ls -A | grep core")
	if strings.TrimSpace(out) != "status 139" {
		t.Errorf("a crash gives %q", out)
	}
	checkCrashDumps(t)
}

// checkCrashDumps holds the test to its purpose: on this machine, crash leaves a core where nothing prevents that.
func checkCrashDumps(t *testing.T) {
	t.Helper()
	pattern, err := os.ReadFile("/proc/sys/kernel/core_pattern")
	if err != nil {
		t.Fatal(err)
	}
	if strings.HasPrefix(string(pattern), "|") || strings.Contains(string(pattern), "/") {
		t.Logf("the kernel writes no core into the directory of a process: core_pattern is %q", pattern)
		return
	}
	cmd := exec.Command("sh", "-c", crash)
	cmd.Dir = t.TempDir()
	if err := cmd.Run(); err == nil {
		t.Fatal("the program did not crash")
	}
	if cores, _ := filepath.Glob(filepath.Join(cmd.Dir, "*")); len(cores) == 0 {
		t.Errorf("without the agent's limit, a crash leaves no core either; core_pattern is %q", pattern)
	}
}
