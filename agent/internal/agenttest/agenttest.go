// Package agenttest runs the agent for tests: the real program, as the first process of a PID namespace, so that
// what it kills is its own. It needs root and util-linux' unshare.
package agenttest

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/need"
)

// An Agent is one that runs.
type Agent struct {
	Dir        string // holds what follows
	Socket     string
	Log        string // the file that the agent logs to
	setup      string
	namespaces []string // flags of unshare for more namespaces
	cmd        *exec.Cmd
	tb         testing.TB
}

// raceSettings let a race end the program. Without the last of them, the program would wait for a second at its end.
const raceSettings = "halt_on_error=1 atexit_sleep_ms=0"

// Race says that the program is built with the race detector, which needs memory of its own.
const Race = raceEnabled

// Need ends a test where no agent can be started.
func Need(tb testing.TB) {
	tb.Helper()
	need.Root(tb)
	if err := unshare(); err != nil {
		need.Missing(tb, "needs namespaces: unshare: %v", err)
	}
}

// unshare makes the namespaces of an agent once. All agents of a test binary can be started, or none.
var unshare = sync.OnceValue(func() error {
	return exec.Command("unshare", "--fork", "--pid", "--ipc", "--mount-proc", "true").Run()
})

// builder returns a function that builds a program once.
func builder(path string) func() (string, error) {
	return sync.OnceValues(func() (string, error) {
		dir, err := os.MkdirTemp("", "berth-agent-")
		if err != nil {
			return "", err
		}
		os.Chmod(dir, 0o755) // git calls the program as another uid
		built.Store(dir, true)
		program := filepath.Join(dir, filepath.Base(path))
		args := []string{"build", "-o", program}
		if raceEnabled {
			args = append(args, "-race")
		}
		out, err := exec.Command("go", append(args, "github.com/berth-go/berth/agent/"+path)...).CombinedOutput()
		if err != nil {
			return "", fmt.Errorf("%w\n%s", err, out)
		}
		return program, nil
	})
}

var (
	build       = builder("cmd/berth-agent")
	buildRoomed = builder("internal/agenttest/roomed")
	built       sync.Map // the directories that they made
)

// Main runs the tests and removes what Program built. Call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	built.Range(func(dir, _ any) bool {
		os.RemoveAll(dir.(string))
		return true
	})
	os.Exit(code)
}

// Program returns the agent's program, built from this source once.
func Program(tb testing.TB) string {
	tb.Helper()
	program, err := build()
	if err != nil {
		tb.Fatal(err)
	}
	return program
}

// Start starts an agent with directories of its own. It ends with the test. Its egress policy allows loopback addresses, unless
// args have a policy.
func Start(tb testing.TB, args ...string) *Agent {
	tb.Helper()
	return StartAfter(tb, "", args...)
}

// StartAfter does so after a shell script was run in the agent's namespaces, where mounts are seen by the agent only
// and vanish with it. Its working directory is Dir.
func StartAfter(tb testing.TB, setup string, args ...string) *Agent {
	tb.Helper()
	return start(tb, &Agent{setup: setup}, args)
}

func start(tb testing.TB, a *Agent, args []string) *Agent {
	tb.Helper()
	Need(tb)
	a.Dir, a.tb = tempDir(tb), tb
	a.Socket = filepath.Join(a.Dir, "run", "agent.sock")
	a.Log = filepath.Join(a.Dir, "log")
	for _, d := range []string{"etc", "tmp"} {
		if err := os.Mkdir(filepath.Join(a.Dir, d), 0o755); err != nil {
			tb.Fatal(err)
		}
	}
	os.Chmod(filepath.Join(a.Dir, "tmp"), 0o777|os.ModeSticky)
	a.Restart(args...)
	tb.Cleanup(func() {
		a.Stop()
		if log, err := os.ReadFile(a.Log); err == nil && (tb.Failed() || testing.Verbose()) {
			tb.Logf("the agent's log:\n%s", log)
		}
	})
	return a
}

// tempDir is tb.TempDir that any uid may pass through, and short enough for a socket.
func tempDir(tb testing.TB) string {
	dir, err := os.MkdirTemp("", "agent")
	if err != nil {
		tb.Fatal(err)
	}
	os.Chmod(dir, 0o755)
	tb.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// Restart starts the program again on the same directories.
func (a *Agent) Restart(args ...string) {
	a.tb.Helper()
	a.Stop()
	log, err := os.OpenFile(a.Log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		a.tb.Fatal(err)
	}
	defer log.Close()
	program := Program(a.tb)
	if Rooms(a.tb) {
		args = append([]string{"-program", program}, args...)
		if program, err = buildRoomed(); err != nil {
			a.tb.Fatal(err)
		}
	}
	allow := []string{"-egress-allow=127.0.0.0/8", "-egress-allow=::1"} // the git servers of tests
	if slices.ContainsFunc(args, func(arg string) bool { return strings.HasPrefix(arg, "-egress") }) {
		allow = nil
	}
	args = append(append([]string{}, a.namespaces...), append([]string{
		"--fork", "--pid", "--ipc", "--mount-proc", "--kill-child=KILL", "--",
		"sh", "-ec", "cd " + a.Dir + "\n" + a.setup + "\ncd /\nexec \"$@\"", "sh", program, "serve",
		"-socket", a.Socket, "-mirror", filepath.Join(a.Dir, "mirror"), "-sessions", filepath.Join(a.Dir, "sessions"),
		"-etc", filepath.Join(a.Dir, "etc"), "-shared", filepath.Join(a.Dir, "tmp"),
	}, append(allow, args...)...)...)
	a.cmd = exec.Command("unshare", args...)
	a.cmd.Env = append(os.Environ(), "GORACE="+raceSettings)
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when a timeout ends the test
	if err := a.cmd.Start(); err != nil {
		a.tb.Fatal(err)
	}
	for range 12_000 { // a minute, on a busy machine
		if conn, err := net.Dial("unix", a.Socket); err == nil {
			conn.Close()
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	text, _ := os.ReadFile(a.Log)
	a.tb.Fatalf("the agent does not answer; it said:\n%s", text)
}

// Stop kills the agent, as when its container is killed. When it returns, no process of the agent is left.
func (a *Agent) Stop() {
	if a.cmd == nil {
		return
	}
	agent, err := unix.PidfdOpen(a.Pid(), 0)
	a.cmd.Process.Kill()
	a.cmd.Wait() // for unshare, which the agent outlives for a moment
	a.cmd = nil
	if err == nil {
		unix.Poll([]unix.PollFd{{Fd: int32(agent), Events: unix.POLLIN}}, int(time.Minute/time.Millisecond))
		unix.Close(agent)
	}
	os.Remove(a.Socket)
}

// Running reports whether the program still runs.
func (a *Agent) Running() bool { return a.cmd != nil && a.cmd.Process.Signal(nil) == nil }

// Pid returns the agent's process, as seen from outside.
func (a *Agent) Pid() int {
	out, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", a.cmd.Process.Pid, a.cmd.Process.Pid))
	var pid int
	fmt.Sscan(string(out), &pid)
	return pid
}

// Inside returns the path by which what the agent calls path is reached from outside.
func (a *Agent) Inside(path string) string {
	return fmt.Sprintf("/proc/%d/root%s", a.Pid(), path)
}

// Ended is closed when the program has ended. It may be called once, and Stop not before that.
func (a *Agent) Ended() <-chan struct{} {
	ended := make(chan struct{})
	cmd := a.cmd
	a.cmd = nil
	go func() {
		cmd.Wait()
		close(ended)
	}()
	return ended
}

// Dial connects to the agent; ErrGone when it was stopped.
func (a *Agent) Dial(ctx context.Context) (net.Conn, error) {
	conn, err := new(net.Dialer).DialContext(ctx, "unix", a.Socket)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", agent.ErrGone, err)
	}
	return conn, nil
}

// Client returns a client, which is closed with the test.
func (a *Agent) Client(opts agent.ClientOptions) *agent.Client {
	c := agent.NewClient(a.Dial, opts)
	a.tb.Cleanup(func() { c.Close() })
	return c
}

// A Thread is one of the program's.
type Thread struct{ ID, Nice int }

// Threads returns those that the program has now.
func (a *Agent) Threads() (threads []Thread) {
	a.tb.Helper()
	stats, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", a.Pid()))
	for _, file := range stats {
		text, err := os.ReadFile(file)
		if err != nil {
			continue // it has ended
		}
		_, rest, _ := strings.Cut(string(text), ") ") // the program's name may hold anything but that
		fields := strings.Fields(rest)                // from the state on, the third field
		thread := Thread{}
		fmt.Sscan(filepath.Base(filepath.Dir(file)), &thread.ID)
		fmt.Sscan(fields[19-3], &thread.Nice)
		threads = append(threads, thread)
	}
	return threads
}
