package agent_test

import (
	"bytes"
	"fmt"
	"os"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/berth-go/berth/agent"
)

// To end a session's processes, the agent acts as their uid for a moment. A task that waits for that moment must have
// no power over the agent in it: neither to signal it nor to change its limits or its priority.
func TestASessionHasNoPowerOverTheAgentThatEndsIt(t *testing.T) {
	r := start(t)
	limits := func() string {
		text, err := os.ReadFile(fmt.Sprintf("/proc/%d/limits", r.agent.Pid()))
		if err != nil {
			t.Fatalf("the agent has ended: %v", err)
		}
		return string(text)
	}
	before := limits()
	for round := range 4 {
		uid := 10001 + round
		id := strconv.Itoa(uid)
		r.session(t, id, uid)
		var said bytes.Buffer
		harass, err := r.Start(testContext(t), agent.Command{
			Session: id, Stdout: &said, Args: []string{"sh", "-c", "for i in 1 2 3; do " + helper(t, r, "harass") + " & done; wait"},
		})
		if err != nil {
			t.Fatal(err)
		}
		for range 25 { // so many processes that their whole uid is stopped, and goes on afterwards
			p, err := r.Start(testContext(t), agent.Command{Session: id, Args: []string{"sh", "-c",
				"for i in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18; do sleep 1000 & done; wait"}})
			if err != nil {
				t.Fatal(err)
			}
			if err := p.Kill(testContext(t)); err != nil {
				t.Fatal(err)
			}
		}
		if err := r.CloseSession(testContext(t), id, uid); err != nil {
			t.Fatal(err)
		}
		harass.Wait()
		if said.Len() > 0 {
			t.Errorf("it has %s", strings.TrimSpace(said.String()))
		}
	}
	if after := limits(); after != before {
		t.Errorf("the agent's limits were\n%s\nand are now\n%s", before, after)
	}
	for _, thread := range r.agent.Threads() {
		if thread.Nice != 0 {
			t.Errorf("thread %d of the agent has priority %d", thread.ID, thread.Nice)
		}
	}
}

// harass tries on every thread of PID 1, again and again, the actions that only the same uid may do, and prints those that
// succeeded.
func harass([]string) error {
	const rlimitNOFILE = 7
	few := syscall.Rlimit{Cur: 3, Max: 3}
	done := make(map[string]bool)
	tell := func(what string, e syscall.Errno) {
		if e == 0 && !done[what] {
			done[what] = true
			fmt.Println(what)
		}
	}
	for {
		dir, err := os.Open("/proc/1/task")
		if err != nil {
			return err
		}
		threads, _ := dir.Readdirnames(-1)
		dir.Close()
		for _, name := range threads {
			id, _ := strconv.Atoi(name)
			tid := uintptr(id)
			for _, sig := range []syscall.Signal{syscall.SIGTERM, syscall.SIGQUIT} {
				_, _, e := syscall.RawSyscall(syscall.SYS_KILL, tid, uintptr(sig), 0)
				tell("signalled a thread", e)
			}
			_, _, e := syscall.RawSyscall6(syscall.SYS_PRLIMIT64, tid, rlimitNOFILE, uintptr(unsafe.Pointer(&few)), 0, 0, 0)
			tell("limited a thread", e)
			syscall.RawSyscall(syscall.SYS_SETPRIORITY, 0, tid, 19) // may succeed, but not for long
		}
	}
}
