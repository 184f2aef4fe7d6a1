package pgtest

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// process is one run of the server.
type process struct {
	cmd   *exec.Cmd
	ended chan struct{} // closed when the process has ended and was waited for
}

// Up starts the server, and returns when it answers.
func (s *Server) Up() error {
	out, err := os.OpenFile(s.log(), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer out.Close()
	args := []string{"-D", s.data, "-p", strconv.Itoa(s.port), "-k", s.Dir, "-c", "listen_addresses=127.0.0.1", "-c", "fsync=off"}
	for _, setting := range s.settings {
		args = append(args, "-c", setting)
	}
	cmd := exec.Command(filepath.Join(s.bin, "postgres"), args...)
	cmd.Dir, cmd.Stdout, cmd.Stderr, cmd.SysProcAttr = s.Dir, out, out, attributes()
	p := &process{cmd: cmd, ended: make(chan struct{})}
	if err := p.start(); err != nil {
		return err
	}
	s.process = p
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		conn, err := pgx.Connect(ctx, s.DSN("postgres"))
		if err == nil {
			return conn.Close(ctx)
		}
		select {
		case <-p.ended:
			s.process = nil
			said, _ := os.ReadFile(s.log())
			return fmt.Errorf("the server ended at once:\n%s", said)
		case <-ctx.Done():
			return fmt.Errorf("the server does not answer: %w", err)
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func (s *Server) log() string { return filepath.Join(s.Dir, "log") }

// Stop shuts the server down in order: it rolls back open transactions and writes everything else to disk.
func (s *Server) Stop() error { return s.end(syscall.SIGINT) }

// Crash ends the server at once, like a power failure, except that data that the kernel has not written to disk
// survives.
func (s *Server) Crash() error { return s.end(syscall.SIGQUIT) }

func (s *Server) end(how syscall.Signal) error {
	p := s.process
	if p == nil {
		return errors.New("pgtest: the server does not run")
	}
	if err := p.cmd.Process.Signal(how); err != nil {
		return err
	}
	select {
	case <-p.ended:
	case <-time.After(patience):
		_ = p.cmd.Process.Kill()
		<-p.ended
		return fmt.Errorf("pgtest: the server did not end within %v", patience)
	}
	s.process = nil
	return nil
}

// remove ends the server and removes its files.
func (s *Server) remove() {
	if s.process != nil {
		s.Resume()
		_ = s.Crash() // the data is not needed
	}
	_ = os.RemoveAll(s.Dir)
}
