package localport

import (
	"syscall"
	"testing"

	"github.com/berth-go/berth/agent/internal/agenttest"
	"github.com/berth-go/berth/agent/internal/sockdiag"
)

// TestPortsUsedUp takes all ports, by sockets of each family and transport.
func TestPortsUsedUp(t *testing.T) {
	agenttest.FewPorts(t, 40000, 40099, func() {
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
