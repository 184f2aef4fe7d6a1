package dockerengine_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// bombSource forks without end, in the parent and in the child, and also if fork fails.
const bombSource = `package main

import (
	"syscall"
	"unsafe"
)

func main() {
	pause := &syscall.Timespec{Nsec: 200e6} // leaves the machine some time
	for {
		if _, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0); e != 0 {
			syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(pause)), 0, 0)
		}
	}
}
`

// buildBomb returns the compiled program for the engine of this machine.
func buildBomb(t *testing.T) []byte {
	t.Helper()
	dir := t.TempDir()
	program := filepath.Join(dir, "bomb")
	if err := os.WriteFile(program+".go", []byte(bombSource), 0o600); err != nil {
		t.Fatal(err)
	}
	build := exec.Command("go", "build", "-o", program, program+".go")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	binary, err := os.ReadFile(program)
	if err != nil {
		t.Fatal(err)
	}
	return binary
}

// bombed is a site whose neighbours fork without end.
type bombed struct {
	*site
	others []agent.Session
	roomy  bool // there are processes for the agent besides
}

// TestTasksThatForkWithoutEnd lets each session of a container fork without end. If there are processes for the agent
// besides, this harms only those sessions. If there are too few even for the sessions, the agent still ends them.
func TestTasksThatForkWithoutEnd(t *testing.T) {
	for name, limit := range map[string]int64{"with room for the agent": 928, "without": 160} {
		t.Run(name, func(t *testing.T) {
			docker := testenv.Docker(t)
			at := orchestrator.Endpoint{Pool: testenv.PoolName(t), PoolUID: "one", Launch: "launch-1", Address: docker.DaemonHost()}
			b := &bombed{roomy: limit >= 256+4*64}
			b.site = newLimitedSite(t, dockerengine.Options{Logger: testLogger(t)}, at, orchestrator.Limits{PIDs: limit}, 4)
			bomb := buildBomb(t)
			for i := range 4 {
				other := session
				other.ID, other.UID, other.URL = fmt.Sprintf("bomb%d", i), 20100+i, b.remote.URL()
				if _, err := b.in.Open(t.Context(), other); err != nil {
					t.Fatal(err)
				}
				b.others = append(b.others, other)
				b.write(t, other.ID, "bomb", bomb)
			}
			b.kill(t, b.explode(t, true))
			b.kill(t, b.explode(t, false))
			b.closeOthers(t, docker)
		})
	}
}

// explode starts a bomb in every other session, and checks that the container still works. It returns the bombs that could
// be started. Unless there is room, only the first one of the first time must start.
func (b *bombed) explode(t *testing.T, first bool) (bombs []orchestrator.Process) {
	t.Helper()
	for _, other := range b.others {
		p, err := b.in.Start(t.Context(), agent.Command{Session: other.ID, Args: []string{"./bomb"}})
		if err != nil && (b.roomy || first && len(bombs) == 0) {
			t.Fatal(err)
		}
		if err == nil {
			bombs = append(bombs, p)
		}
	}
	time.Sleep(time.Second) // until they have forked as often as they can
	for i := range 50 {     // closing these sessions frees none of the bombs' processes
		if err := b.in.CloseSession(t.Context(), "none", 20200+i); err != nil {
			t.Fatalf("CloseSession of nothing: %v", err)
		}
	}
	if !b.roomy {
		return bombs
	}
	if out := b.output(t, "sh", "-c", "echo hello | cat"); out != "hello\n" {
		t.Errorf("the neighbour says %q", out)
	}
	if _, err := b.in.Fetch(t.Context(), agent.Fetch{URL: b.remote.URL()}, nil); err != nil {
		t.Errorf("Fetch: %v", err)
	}
	return bombs
}

// kill kills bombs, all at once.
func (b *bombed) kill(t *testing.T, bombs []orchestrator.Process) {
	t.Helper()
	var all sync.WaitGroup
	for _, p := range bombs {
		all.Go(func() {
			if err := p.Kill(t.Context()); err != nil {
				t.Errorf("Kill: %v", err)
			}
			if _, err := p.Wait(); err != nil { // its first shell may have ended before
				t.Errorf("Wait: %v", err)
			}
		})
	}
	all.Wait()
}

// closeOthers closes the other sessions while a bomb runs in each, and checks that nothing of them is left.
func (b *bombed) closeOthers(t *testing.T, docker *client.Client) {
	t.Helper()
	for _, other := range b.others {
		_, err := b.in.Start(t.Context(), agent.Command{Session: other.ID, Args: []string{"./bomb"}})
		if err != nil && b.roomy {
			t.Fatal(err)
		}
	}
	time.Sleep(time.Second)
	for _, other := range b.others {
		if err := b.in.CloseSession(t.Context(), other.ID, other.UID); err != nil {
			t.Errorf("CloseSession: %v", err)
		}
	}
	top, err := docker.ContainerTop(t.Context(), b.spec.Name, client.ContainerTopOptions{Arguments: []string{"-eo", "uid,pid,cmd"}})
	if err != nil {
		t.Fatal(err)
	}
	for _, p := range top.Processes {
		if strings.HasPrefix(p[0], "201") {
			t.Errorf("this process is left: %v", p)
		}
	}
	if out := b.output(t, "echo", "hello"); out != "hello\n" {
		t.Errorf("in the end the neighbour says %q", out)
	}
}

// write writes a program to a session's checkout.
func (s *site) write(t *testing.T, id, name string, binary []byte) {
	t.Helper()
	p, err := s.in.Start(t.Context(), agent.Command{
		Session: id, Args: []string{"sh", "-c", "cat >" + name + " && chmod +x " + name}, Stdin: bytes.NewReader(binary),
	})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		t.Fatalf("writing a program ended with %+v, %v", exit, err)
	}
}
