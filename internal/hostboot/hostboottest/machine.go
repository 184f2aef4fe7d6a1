// Package hostboottest boots the user data of package hostboot on a machine that is none: a process tree with a network,
// a process space and a file system of its own, whose /etc, /run and /usr/local can be written without harm. The engine
// in it, if there is one, is the real Docker, started by what the user data says and by nothing else. It needs root.
package hostboottest

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/internal/testenv"
)

//go:embed init packages systemctl
var programs embed.FS

const bootTimeout = 2 * time.Minute

// Options describe a machine.
type Options struct {
	UserData  []byte
	Engine    bool     // the real Docker is started. Otherwise that it was to start is only written down
	OSRelease string   // the text of /etc/os-release; "" = as it is here
	Hidden    []string // programs, of different directories, that are missing until the package manager installs something
	Env       []string // of all that runs on it
	Address   string   // of IPv4, which no other machine has; "" = some
	// MirrorFails is how many calls of the package manager fail.
	MirrorFails int
}

// Daemon returns settings for hostboot.Options without which an engine cannot start containers here. There are none but
// in sandboxes that give root no right to raise the limit of open files.
func Daemon() map[string]any {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Max >= 65536 {
		return nil
	}
	return map[string]any{"default-ulimits": map[string]any{}}
}

// ErrMissing: there can be no machines here.
var ErrMissing = errors.New("there can be no machines here")

// Ready returns an ErrMissing if something is not there that every machine needs.
func Ready() error {
	if os.Getuid() != 0 {
		return fmt.Errorf("%w: only root can make one", ErrMissing)
	}
	for _, program := range []string{"bash", "ip", "iptables", "nsenter", "unshare", "curl", "docker", "dockerd", "containerd"} {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: %s is not installed", ErrMissing, program)
		}
	}
	return nil
}

// A Machine has run its user data. Its methods may be called until Stop, which may be called at any time.
type Machine struct {
	dir   string
	netns string
	outer string // our end of its cable
	host  string // our address on it
	own   string // its address
	cmd   *exec.Cmd
	pid   string        // of its process 1, as seen from here
	ended chan struct{} // closed when all its processes have
	stop  func() error  // see Stop

	groups []string // the control groups that its containers had when it ended
}

// Boot starts a machine that ends with the test, and waits until the user data has run.
func Boot(t testing.TB, o Options) *Machine {
	t.Helper()
	m, err := Start(t.Context(), o)
	if errors.Is(err, ErrMissing) {
		testenv.Missing(t, "not tested: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(m.Log())
		}
		if err := m.Stop(); err != nil {
			t.Error(err)
		}
	})
	return m
}

// Start starts a machine, and waits until the user data has run. Whoever calls it calls Stop. A Machine that comes with
// an error has been stopped.
func Start(ctx context.Context, o Options) (*Machine, error) {
	if err := Ready(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "bm")
	if err != nil {
		return nil, err
	}
	m := &Machine{dir: dir, netns: filepath.Base(dir), ended: make(chan struct{})}
	m.stop = sync.OnceValue(m.end)
	for _, step := range []func(context.Context, Options) error{m.prepare, m.connect, m.start, m.boot} {
		if err := step(ctx, o); err != nil {
			err = fmt.Errorf("%w%s", err, m.Log())
			return m, errors.Join(err, m.Stop())
		}
	}
	return m, nil
}

// Log returns the ends of all that the machine has said.
func (m *Machine) Log() string {
	var b strings.Builder
	for _, name := range []string{"output", "console", "calls", "docker.log"} {
		text := m.read(name)
		fmt.Fprintf(&b, "\nthe end of the machine's %s:\n%s", name, text[max(0, len(text)-4000):])
	}
	return b.String()
}

func (m *Machine) read(name string) string {
	text, _ := os.ReadFile(filepath.Join(m.dir, name))
	return string(text)
}

// Address is where its engine listens, in the words of orchestrator.Endpoint.
func (m *Machine) Address() string { return fmt.Sprintf("tcp://%s:%d", m.own, hostboot.Port) }

// Outside is this process' own address in the machine's network.
func (m *Machine) Outside() string { return m.host }

// Booted reports whether the user data ended well.
func (m *Machine) Booted() bool { return m.read("status") == "0\n" }

// Console returns what the user data has said.
func (m *Machine) Console() string { return m.read("console") }

// Calls returns the calls of systemctl and of package managers, one a line, and what followed from them.
func (m *Machine) Calls() []string {
	return strings.Split(strings.TrimSpace(m.read("calls")), "\n")
}

// Path returns the path from here of a file on the machine.
func (m *Machine) Path(path string) string { return "/proc/" + m.pid + "/root" + path }

// Run runs a bash script on the machine, with more environment, and returns what it said.
func (m *Machine) Run(ctx context.Context, script string, env ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "nsenter", "--target="+m.pid, "--mount", "--pid", "--net", "bash", "-c", script)
	cmd.Env = append(m.cmd.Env[:len(m.cmd.Env):len(m.cmd.Env)], env...)
	out, err := cmd.CombinedOutput()
	return string(out), err
}
