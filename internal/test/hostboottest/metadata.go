package hostboottest

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"runtime"
	"syscall"
)

// metadataAddress is the address of EC2's metadata service.
const metadataAddress = "169.254.169.254"

// setns is the number of the system call. Package syscall does not have it on every architecture.
var setns = map[string]uintptr{"amd64": 308, "arm64": 268}

const newNet = 0x40000000 // CLONE_NEWNET

// serveMetadata makes a network beside the machine's, with the metadata service as its only host, and serves it.
func (m *Machine) serveMetadata(_ context.Context, o Options) error {
	tag := m.netns[len(m.netns)-8:]
	netns := m.netns + "-imds"
	inner, far := "md"+tag, "ms"+tag
	err := ip(
		"netns add "+netns,
		"-n "+m.netns+" link add "+inner+" type veth peer name "+far+" netns "+netns,
		"-n "+netns+" addr add "+metadataAddress+" peer "+m.own+"/32 dev "+far,
		"-n "+netns+" link set "+far+" up",
		"-n "+netns+" link set lo up",
		"-n "+m.netns+" link set "+inner+" up",
		"-n "+m.netns+" route add "+metadataAddress+" dev "+inner+" src "+m.own,
	)
	if err != nil {
		return err
	}
	l, err := listenIn("/run/netns/"+netns, net.JoinHostPort(metadataAddress, "80"))
	if err != nil {
		return fmt.Errorf("serving metadata: %w", err)
	}
	server, done := &http.Server{Handler: o.Metadata}, make(chan struct{})
	go func() { server.Serve(l); close(done) }()
	m.closeMetadata = func() { server.Close(); <-done }
	return nil
}

// listenIn listens in a network namespace.
func listenIn(netns, address string) (l net.Listener, err error) {
	file, err := os.Open(netns)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	number, ok := setns[runtime.GOARCH]
	if !ok || runtime.GOOS != "linux" {
		return nil, errors.ErrUnsupported
	}
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // never unlocked, so that the thread ends with this goroutine
		if _, _, errno := syscall.RawSyscall(number, file.Fd(), newNet, 0); errno != 0 {
			err = errno
			return
		}
		l, err = net.Listen("tcp4", address)
	}()
	<-done
	return l, err
}
