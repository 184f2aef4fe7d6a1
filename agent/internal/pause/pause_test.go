package pause_test

import (
	"errors"
	"net"
	"os"
	"syscall"
	"testing"

	"github.com/berth-go/berth/agent/internal/pause"
)

// listener answers each Accept with the next error, and with a connection for nil.
type listener struct {
	net.Listener
	errs []error
}

func (l *listener) Accept() (net.Conn, error) {
	err := l.errs[0]
	l.errs = l.errs[1:]
	if err != nil {
		return nil, &net.OpError{Op: "accept", Net: "tcp", Err: err}
	}
	return new(net.TCPConn), nil
}

// TestAcceptWaitsForFiles: what a session has used up for a while does not end a server for ever.
func TestAcceptWaitsForFiles(t *testing.T) {
	full := func(e syscall.Errno) error { return os.NewSyscallError("accept4", e) }
	l := &listener{errs: []error{full(syscall.EMFILE), full(syscall.ENFILE), nil, net.ErrClosed}}
	told := 0
	conn, err := pause.Accept(l, func(error) { told++ })
	if conn == nil || err != nil || told != 2 {
		t.Errorf("got %v, %v, and was told %d times; want a connection after 2 failures", conn, err, told)
	}
	if conn, err := pause.Accept(l, func(error) { told++ }); conn != nil || !errors.Is(err, net.ErrClosed) || told != 2 {
		t.Errorf("of a closed listener: %v, %v", conn, err)
	}
}
