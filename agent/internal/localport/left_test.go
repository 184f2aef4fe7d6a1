package localport

import (
	"os"
	"os/exec"
	"runtime"
	"syscall"
	"testing"

	"github.com/berth-go/berth/agent/internal/sockdiag"
	"github.com/berth-go/berth/internal/test/need"
)

// inNetwork runs a function in a network namespace of its own, which has few local ports. The function must not leave its thread.
func inNetwork(t *testing.T, fn func()) {
	t.Helper()
	need.Root(t) // to give files and ports to other uids
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // for good: the thread ends with the goroutine
		if err := syscall.Unshare(syscall.CLONE_NEWNET); err != nil {
			t.Errorf("unshare: %v", err)
			return
		}
		if out, err := exec.Command("ip", "link", "set", "lo", "up").CombinedOutput(); err != nil {
			t.Errorf("ip: %v: %s", err, out)
			return
		}
		if err := os.WriteFile("/proc/sys/net/ipv4/ip_local_port_range", []byte("40000 40099"), 0o644); err != nil {
			t.Error(err)
			return
		}
		fn()
	}()
	<-done
}

// TestPortsUsedUp takes all ports, by sockets of each family and transport.
func TestPortsUsedUp(t *testing.T) {
	inNetwork(t, func() {
		for _, family := range []int{syscall.AF_INET, syscall.AF_INET6} {
			for _, kind := range []int{syscall.SOCK_STREAM, syscall.SOCK_DGRAM} {
				if !Left() {
					t.Errorf("family %d, kind %d: no ports are left before", family, kind)
				}
				fds := takeAll(t, family, kind)
				if Left() {
					t.Errorf("family %d, kind %d: ports are left", family, kind)
				}
				counts, err := sockdiag.Ports()
				if err != nil || counts[10001] != len(fds) || len(counts) != 1 {
					if kind == syscall.SOCK_STREAM && err == nil && len(counts) == 0 {
						t.Logf("this kernel, before 6.8, does not list bound sockets")
					} else {
						t.Errorf("family %d, kind %d: %v, %v, want %d", family, kind, counts, err, len(fds))
					}
				}
				for _, fd := range fds[:spare] {
					syscall.Close(fd)
				}
				if !Left() {
					t.Errorf("family %d, kind %d: %d ports are not left", family, kind, spare)
				}
				for _, fd := range fds[spare:] {
					syscall.Close(fd)
				}
			}
		}
	})
}

// takeAll binds sockets of another uid at loopback addresses.
func takeAll(t *testing.T, family, kind int) (fds []int) {
	setfsuid(10001)
	defer setfsuid(0)
	for port := 40000; port <= 40099; port++ {
		var at syscall.Sockaddr = &syscall.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: port}
		if family == syscall.AF_INET6 {
			at = &syscall.SockaddrInet6{Addr: [16]byte{15: 1}, Port: port}
		}
		fd, err := syscall.Socket(family, kind|syscall.SOCK_CLOEXEC, 0)
		if err == nil {
			err = syscall.Bind(fd, at)
		}
		if err != nil {
			t.Errorf("port %d: %v", port, err)
			continue
		}
		fds = append(fds, fd)
	}
	return fds
}

func setfsuid(uid int) { syscall.RawSyscall(syscall.SYS_SETFSUID, uintptr(uid), 0, 0) }
