package agent_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

// TestASessionThatStopsItsOwnStartsHoldsUpNobody: a command runs under its session's uid a moment before it is
// executed, and until that the agent waits for it.
func TestASessionThatStopsItsOwnStartsHoldsUpNobody(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	r.session(t, "other", 10002)
	stopper, err := r.Start(testContext(t), agent.Command{Session: "s", Args: []string{"sh", "-c", helper(t, r, "stop")}})
	if err != nil {
		t.Fatal(err)
	}
	for range 100 {
		ctx, cancel := context.WithTimeout(testContext(t), patience)
		_, err := r.Start(ctx, agent.Command{Session: "s", Args: []string{"true"}})
		cancel()
		if err != nil {
			t.Fatalf("its own start: %v", err)
		}
	}
	begun := time.Now()
	if out, _ := r.run(t, "other", "echo fine"); out != "fine\n" {
		t.Errorf("the neighbour: %q", out)
	}
	if err := r.CloseSession(testContext(t), "s", 10001); err != nil {
		t.Error(err)
	}
	if took := time.Since(begun); took > patience {
		t.Errorf("it took %v", took)
	}
	stopper.Wait()
}

// stop stops whatever has its uid, again and again.
func stop([]string) error {
	for {
		syscall.Kill(-1, syscall.SIGSTOP)
	}
}

func TestTheGuardOfForksIsStartedAgain(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	guard := func() (pid int) {
		lists, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", r.agent.Pid()))
		for _, list := range lists {
			text, _ := os.ReadFile(list)
			for _, child := range strings.Fields(string(text)) {
				if args, _ := os.ReadFile("/proc/" + child + "/cmdline"); strings.Contains(string(args), "\x00guard\x00") {
					fmt.Sscan(child, &pid)
				}
			}
		}
		return pid
	}
	first := guard()
	if first == 0 {
		t.Fatal("there is none")
	}
	if err := syscall.Kill(first, syscall.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for syscall.Kill(first, 0) == nil { // it is reaped soon
		time.Sleep(time.Millisecond)
	}
	if out, _ := r.run(t, "s", "echo fine"); out != "fine\n" {
		t.Errorf("without it: %q", out)
	}
	second := guard()
	for deadline := time.Now().Add(patience); second == 0 && time.Now().Before(deadline); second = guard() {
		time.Sleep(time.Millisecond) // the kernel's list of children leaves some out while others end
	}
	if second == 0 || second == first {
		t.Errorf("it was %d and is %d", first, second)
	}
}
