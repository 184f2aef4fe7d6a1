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
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

// An Agent is one that runs.
type Agent struct {
	Dir    string // holds what follows
	Socket string
	Log    string // the file that the agent logs to
	setup  string
	cmd    *exec.Cmd
	tb     testing.TB
}

// Need skips a test that needs root, aloud; where all must run (CI=true) it fails.
func Need(tb testing.TB) {
	tb.Helper()
	reason := ""
	if os.Getuid() != 0 {
		reason = "needs root"
	} else if err := exec.Command("unshare", "--fork", "--pid", "--ipc", "--mount-proc", "true").Run(); err != nil {
		reason = "needs namespaces: unshare: " + err.Error()
	}
	switch {
	case reason == "":
	case os.Getenv("CI") == "true":
		tb.Fatal(reason)
	default:
		tb.Skip(reason)
	}
}

var build = sync.OnceValues(func() (string, error) {
	dir, err := os.MkdirTemp("", "berth-agent-")
	if err != nil {
		return "", err
	}
	os.Chmod(dir, 0o755) // git calls the program as another uid
	program := filepath.Join(dir, "berth-agent")
	args := []string{"build", "-o", program}
	if raceEnabled {
		args = append(args, "-race")
	}
	out, err := exec.Command("go", append(args, "github.com/berth-go/berth/agent/cmd/berth-agent")...).CombinedOutput()
	if err != nil {
		return "", fmt.Errorf("%w\n%s", err, out)
	}
	return program, nil
})

// Main runs the tests and removes what Program built. Call it from TestMain.
func Main(m *testing.M) {
	code := m.Run()
	if program, err := build(); err == nil {
		os.RemoveAll(filepath.Dir(program))
	}
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

// Start starts an agent with directories of its own. It ends with the test.
func Start(tb testing.TB, args ...string) *Agent {
	tb.Helper()
	return StartAfter(tb, "", args...)
}

// StartAfter does so after a shell script was run in the agent's namespaces, where mounts are seen by the agent only
// and vanish with it. Its working directory is Dir.
func StartAfter(tb testing.TB, setup string, args ...string) *Agent {
	tb.Helper()
	Need(tb)
	a := &Agent{Dir: tempDir(tb), tb: tb, setup: setup}
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
	args = append([]string{
		"--fork", "--pid", "--ipc", "--mount-proc", "--kill-child=KILL", "--",
		"sh", "-ec", "cd " + a.Dir + "\n" + a.setup + "\ncd /\nexec \"$@\"", "sh", Program(a.tb), "serve",
		"-socket", a.Socket, "-mirror", filepath.Join(a.Dir, "mirror"), "-sessions", filepath.Join(a.Dir, "sessions"),
		"-etc", filepath.Join(a.Dir, "etc"), "-shared", filepath.Join(a.Dir, "tmp"),
	}, args...)
	a.cmd = exec.Command("unshare", args...)
	a.cmd.Env = append(os.Environ(), "GORACE=halt_on_error=1")
	a.cmd.Stdout, a.cmd.Stderr = log, log
	a.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL} // also when a timeout ends the test
	if err := a.cmd.Start(); err != nil {
		a.tb.Fatal(err)
	}
	for range 1000 {
		if conn, err := net.Dial("unix", a.Socket); err == nil {
			conn.Close()
			return
		}
		time.Sleep(5 * time.Millisecond)
	}
	text, _ := os.ReadFile(a.Log)
	a.tb.Fatalf("the agent does not answer; it said:\n%s", text)
}

// Stop kills the agent, as when its container is killed.
func (a *Agent) Stop() {
	if a.cmd != nil {
		a.cmd.Process.Kill()
		a.cmd.Wait()
		a.cmd = nil
		os.Remove(a.Socket)
	}
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
