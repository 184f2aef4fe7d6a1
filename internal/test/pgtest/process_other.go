//go:build !linux

package pgtest

import (
	"errors"
	"syscall"
	"testing"

	"github.com/berth-go/berth/internal/test/testenv"
)

var errLinux = errors.New("pgtest: servers are run on Linux only")

func supported(t testing.TB) {
	t.Helper()
	testenv.Missing(t, "needs a PostgreSQL server of the test's own, which is run on Linux only")
}

func attributes() *syscall.SysProcAttr { return nil }

func own(...string) error { return errLinux }

func (p *process) start() error { return errLinux }

// Pause pauses all processes of the server: it neither answers nor closes connections.
func (s *Server) Pause() error { return errLinux }

// Resume continues a paused server.
func (s *Server) Resume() error { return errLinux }
