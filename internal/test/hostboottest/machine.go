// Package hostboottest boots the user data of package hostboot on a simulated machine: a process tree with its own
// network, process namespace and file system, so that it can write to /etc, /run and /usr/local without harm. Its
// engine, if any, is the real Docker, and only the user data starts it. It needs root.
//
// With Options.Metadata the machine is a container of systemd-nspawn instead. In it, systemd is process 1 and
// cloud-init gets the user data from a metadata service, as on EC2. It reboots and powers off like a real machine. It
// boots in half a minute, and the other kind in seconds. It is Debian, and the other kind can pretend to be another
// system and to lack programs.
package hostboottest

import (
	"context"
	"embed"
	"errors"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/internal/test/testenv"
)

//go:embed init packages systemctl systemd-init systemd-start
var programs embed.FS

const bootTimeout = 5 * time.Minute

// Options describe a machine.
type Options struct {
	UserData  []byte
	Engine    bool     // the real Docker is started. Otherwise its start is only recorded
	OSRelease string   // the text of /etc/os-release; "" = that of this machine
	Hidden    []string // programs, in different directories, that are missing until the package manager installs something
	Env       []string // of every process on it
	Address   string   // an IPv4 address that no other machine has; "" = any
	// MirrorFails is the number of calls of the package manager that fail.
	MirrorFails int

	// Metadata makes a machine with the real systemd, Debian's cloud-init and an engine. The machine finds everything
	// else at this metadata service: of the fields above, only Address counts. Start does not wait for it.
	Metadata http.Handler
	Shared   string // a directory of this computer that a machine with systemd sees at the same path; "" = none
}

// Daemon returns the settings for hostboot.Options that an engine needs to start containers here. There are none,
// except in sandboxes where root may not raise the limit of open files.
func Daemon() map[string]any {
	var limit syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &limit); err != nil || limit.Max >= 65536 {
		return nil
	}
	return map[string]any{"default-ulimits": map[string]any{}}
}

// ErrMissing says that this computer cannot run machines.
var ErrMissing = errors.New("there can be no machines here")

// Ready returns an ErrMissing if something is missing that every machine needs.
func Ready() error {
	return have("bash", "ip", "iptables", "nsenter", "unshare", "curl", "docker", "dockerd", "containerd")
}

// ReadySystemd is Ready for machines with systemd.
func ReadySystemd() error {
	if _, err := os.Stat("/dev/fuse"); err != nil {
		return fmt.Errorf("%w: %w", ErrMissing, err)
	}
	return have("bash", "ip", "nsenter", "unshare", "systemd-nspawn", "mmdebstrap")
}

func have(programs ...string) error {
	if os.Getuid() != 0 {
		return fmt.Errorf("%w: only root can make one", ErrMissing)
	}
	for _, program := range programs {
		if _, err := exec.LookPath(program); err != nil {
			return fmt.Errorf("%w: %s is not installed", ErrMissing, program)
		}
	}
	return nil
}

// A Machine has run its user data, or is about to if it has systemd. Its methods may be called until Stop. Stop may be
// called at any time.
type Machine struct {
	dir   string
	netns string
	outer string        // our end of its cable
	host  string        // our address on it
	own   string        // its address
	ended chan struct{} // closed when all its processes have ended and no others follow
	stop  func() error  // see Stop

	closeMetadata func() // nil = there is no metadata service

	mu      sync.Mutex // protects the fields below
	cmd     *exec.Cmd  // the parent of process 1
	alive   *os.File   // a machine with systemd ends when this is closed
	boots   int
	stopped bool
	off     bool // it has powered itself off

	texts  map[string]string // the machine's logs by file name, after Stop has removed the files
	groups []string          // the control groups that its containers had when it ended
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

// Start starts a machine, and waits until the user data has run. The caller must call Stop. A Machine that comes with
// an error has been stopped.
func Start(ctx context.Context, o Options) (*Machine, error) {
	ready := Ready
	if o.Metadata != nil {
		ready = ReadySystemd
	}
	if err := ready(); err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("/tmp", "bm")
	if err != nil {
		return nil, err
	}
	m := &Machine{dir: dir, netns: filepath.Base(dir), ended: make(chan struct{})}
	m.stop = sync.OnceValue(m.end)
	steps := []func(context.Context, Options) error{m.prepare, m.connect, m.start, m.boot}
	if o.Metadata != nil {
		steps = []func(context.Context, Options) error{m.connect, m.serveMetadata, m.startSystemd}
	}
	for _, step := range steps {
		if err := step(ctx, o); err != nil {
			err = fmt.Errorf("%w%s", err, m.Log())
			return m, errors.Join(err, m.Stop())
		}
	}
	return m, nil
}

// logs are the names of a machine's log files.
var logs = []string{"output", "console", "calls", "docker.log"}

// Log returns the ends of all logs of the machine. Like Console and Calls, it may also be called after Stop.
func (m *Machine) Log() string {
	var b strings.Builder
	for _, name := range logs {
		text := m.read(name)
		fmt.Fprintf(&b, "\nthe end of the machine's %s:\n%s", name, text[max(0, len(text)-4000):])
	}
	return b.String()
}

func (m *Machine) read(name string) string {
	m.mu.Lock()
	kept, ok := m.texts[name]
	m.mu.Unlock()
	if ok {
		return kept
	}
	text, _ := os.ReadFile(filepath.Join(m.dir, name))
	return string(text)
}

// Address returns the address of its engine, in the form of orchestrator.Endpoint.
func (m *Machine) Address() string { return fmt.Sprintf("tcp://%s:%d", m.own, hostboot.Port) }

// Outside returns this process' own address in the machine's network.
func (m *Machine) Outside() string { return m.host }

// Booted reports whether the user data succeeded.
func (m *Machine) Booted() bool { return m.read("status") == "0\n" }

// Console returns the output of the user data.
func (m *Machine) Console() string { return m.read("console") }

// Calls returns the calls of systemctl and of package managers, one per line, and their effects.
func (m *Machine) Calls() []string {
	return strings.Split(strings.TrimSpace(m.read("calls")), "\n")
}

// Path returns the path of a machine's file on this computer.
func (m *Machine) Path(path string) string { return "/proc/" + m.init() + "/root" + path }

// Run runs a bash script on the machine, with additional environment variables, and returns its output.
func (m *Machine) Run(ctx context.Context, script string, env ...string) (string, error) {
	pid := m.init()
	if pid == "" {
		return "", errors.New("the machine is not up")
	}
	cmd := exec.CommandContext(ctx, "nsenter", "--target="+pid, "--mount", "--pid", "--net", "--uts", "--ipc", "--cgroup", "bash", "-c", script)
	m.mu.Lock()
	cmd.Env = append(m.cmd.Env[:len(m.cmd.Env):len(m.cmd.Env)], env...)
	m.mu.Unlock()
	out, err := cmd.CombinedOutput()
	return string(out), err
}
