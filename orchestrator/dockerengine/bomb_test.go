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
	"github.com/berth-go/berth/internal/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// bombSource forks without end, parent and child alike, whatever fork answers.
const bombSource = `package main

import (
	"syscall"
	"unsafe"
)

func main() {
	pause := &syscall.Timespec{Nsec: 20e6} // to leave the machine some time
	for {
		if _, _, e := syscall.RawSyscall6(syscall.SYS_CLONE, uintptr(syscall.SIGCHLD), 0, 0, 0, 0, 0); e != 0 {
			syscall.RawSyscall(syscall.SYS_NANOSLEEP, uintptr(unsafe.Pointer(pause)), 0, 0)
		}
	}
}
`

// buildBomb returns the program, for the engine of this machine.
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

// TestTasksThatForkWithoutEnd: each session of a container has one. Where there are processes for the agent besides,
// nothing but the sessions themselves is the worse for it; and where there are too few even for the sessions, the agent
// still ends them.
func TestTasksThatForkWithoutEnd(t *testing.T) {
	for name, limit := range map[string]int64{"with room for the agent": 768, "without": 160} {
		t.Run(name, func(t *testing.T) {
			docker := testenv.Docker(t)
			at := orchestrator.Endpoint{Pool: testenv.PoolName(t), PoolUID: "one", Launch: "launch-1", Address: docker.DaemonHost()}
			s := newLimitedSite(t, dockerengine.Options{Logger: testLogger(t)}, at, orchestrator.Limits{PIDs: limit}, 4)
			roomy := limit >= 256+4*64
			bomb := buildBomb(t)
			var others []agent.Session
			for i := range 4 {
				other := session
				other.ID, other.UID, other.URL = fmt.Sprintf("bomb%d", i), 20100+i, s.remote.URL()
				if _, err := s.in.Open(t.Context(), other); err != nil {
					t.Fatal(err)
				}
				others = append(others, other)
				s.write(t, other.ID, "bomb", bomb)
			}
			var bombs []orchestrator.Process
			for round := range 2 {
				for _, other := range others {
					p, err := s.in.Start(t.Context(), agent.Command{Session: other.ID, Args: []string{"./bomb"}})
					if err != nil && (roomy || round == 0 && len(bombs) == 0) {
						t.Fatal(err)
					}
					if err == nil {
						bombs = append(bombs, p)
					}
				}
				time.Sleep(time.Second) // they cannot say when they are at their worst
				for i := range 50 {     // of which none gives back what the bombs have
					if err := s.in.CloseSession(t.Context(), "none", 20200+i); err != nil {
						t.Fatalf("CloseSession of nothing: %v", err)
					}
				}
				if roomy {
					if out := s.output(t, "sh", "-c", "echo hello | cat"); out != "hello\n" {
						t.Errorf("the neighbour says %q", out)
					}
					if _, err := s.in.Fetch(t.Context(), agent.Fetch{URL: s.remote.URL()}, nil); err != nil {
						t.Errorf("Fetch: %v", err)
					}
				}
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
				bombs = nil
			}
			for _, other := range others {
				_, err := s.in.Start(t.Context(), agent.Command{Session: other.ID, Args: []string{"./bomb"}})
				if err != nil && roomy {
					t.Fatal(err)
				}
			}
			time.Sleep(time.Second)
			for _, other := range others {
				if err := s.in.CloseSession(t.Context(), other.ID, other.UID); err != nil {
					t.Errorf("CloseSession: %v", err)
				}
			}
			top, err := docker.ContainerTop(t.Context(), s.spec.Name, client.ContainerTopOptions{Arguments: []string{"-eo", "uid,pid,cmd"}})
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range top.Processes {
				if strings.HasPrefix(p[0], "201") {
					t.Errorf("there is left: %v", p)
				}
			}
			if out := s.output(t, "echo", "hello"); out != "hello\n" {
				t.Errorf("in the end the neighbour says %q", out)
			}
		})
	}
}

// write makes a program in a session's checkout.
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
