package agenttest

import (
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-go/berth/internal/test/need"
)

// StartAlone starts an agent in a network namespace of its own, where only the loopback interface is up. An agent finds the
// connections of its fetches by their uid, which is the same for all agents. So a test about connections that stay
// unanswered needs a network that other agents do not use.
func StartAlone(tb testing.TB, args ...string) *Agent {
	tb.Helper()
	return start(tb, &Agent{namespaces: []string{"--net"}, setup: "ip link set lo up"}, args)
}

// InNetwork runs fn on the calling thread, which is in the agent's network namespace meanwhile. Sockets that fn makes on that
// thread belong to the namespace.
func (a *Agent) InNetwork(fn func()) error {
	there, err := os.Open(fmt.Sprintf("/proc/%d/ns/net", a.Pid()))
	if err != nil {
		return err
	}
	defer there.Close()
	own, err := os.Open("/proc/thread-self/ns/net") // all threads of a test have the same
	if err != nil {
		return err
	}
	defer own.Close()
	runtime.LockOSThread()
	if err := unix.Setns(int(there.Fd()), unix.CLONE_NEWNET); err != nil {
		runtime.UnlockOSThread()
		return os.NewSyscallError("setns", err)
	}
	fn()
	// The thread must live on: if it has started an agent, the agent would end with it (Pdeathsig).
	if err := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); err != nil {
		return os.NewSyscallError("setns", err) // the thread stays locked, in the other network
	}
	runtime.UnlockOSThread()
	return nil
}

// FewPorts runs fn in a network namespace of its own, which has a loopback interface, and the local ports from first to last only. fn
// must not leave its thread.
func FewPorts(tb testing.TB, first, last int, fn func()) {
	tb.Helper()
	need.Root(tb)
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
			tb.Errorf("unshare: %v", err)
			return
		}
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			tb.Errorf("ip: %v: %s", err, out)
			return
		}
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", fmt.Appendf(nil, "%d %d", first, last), 0o644); err != nil {
			tb.Error(err)
			return
		}
		fn()
	}()
	<-done
}
