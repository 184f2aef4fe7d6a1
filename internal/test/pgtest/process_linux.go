package pgtest

import (
	"bytes"
	"fmt"
	"os"
	"os/user"
	"path/filepath"
	"runtime"
	"strconv"
	"syscall"
	"testing"
)

func supported(testing.TB) {}

// attributes makes a server run as an ordinary user, because it refuses to run as root, and makes it end with this
// process even if this process is killed.
func attributes() *syscall.SysProcAttr {
	attr := &syscall.SysProcAttr{Setpgid: true, Pdeathsig: syscall.SIGQUIT} // an interrupt at the terminal goes to us only
	if uid, gid, ok := unprivileged(); ok {
		attr.Credential = &syscall.Credential{Uid: uid, Gid: gid}
	}
	return attr
}

// unprivileged returns the user that the server runs as, if that is another than ours.
func unprivileged() (uid, gid uint32, ok bool) {
	if os.Getuid() != 0 {
		return 0, 0, false
	}
	for _, name := range []string{"postgres", "nobody"} {
		if u, err := user.Lookup(name); err == nil {
			uid, _ := strconv.ParseUint(u.Uid, 10, 32)
			gid, _ := strconv.ParseUint(u.Gid, 10, 32)
			return uint32(uid), uint32(gid), true
		}
	}
	return 65534, 65534, true
}

// own gives files to the user that the server runs as.
func own(paths ...string) error {
	uid, gid, ok := unprivileged()
	if !ok {
		return nil
	}
	for _, path := range paths {
		if err := os.Chown(path, int(uid), int(gid)); err != nil {
			return err
		}
	}
	return nil
}

// start starts the process. To the kernel, the end of the thread that started it is the end of its parent, so that
// thread stays.
func (p *process) start() error {
	started := make(chan error)
	go func() {
		runtime.LockOSThread()
		err := p.cmd.Start()
		started <- err
		if err == nil {
			_ = p.cmd.Wait()
			close(p.ended)
		}
	}()
	return <-started
}

// Pause pauses all processes of the server: it neither answers nor closes connections.
func (s *Server) Pause() error { return s.signal(syscall.SIGSTOP) }

// Resume continues a paused server.
func (s *Server) Resume() error { return s.signal(syscall.SIGCONT) }

func (s *Server) signal(signal syscall.Signal) error {
	if s.process == nil {
		return fmt.Errorf("pgtest: the server does not run")
	}
	parent := s.process.cmd.Process.Pid
	pids := []int{parent} // the parent first, so that it starts no more children
	if err := syscall.Kill(parent, signal); err != nil {
		return err
	}
	stats, err := filepath.Glob("/proc/[0-9]*/stat")
	if err != nil {
		return err
	}
	for _, path := range stats {
		stat, err := os.ReadFile(path)
		if err != nil {
			continue // it has ended
		}
		var state string
		var ppid int
		after := bytes.LastIndexByte(stat, ')') // the name before it may contain anything
		if _, err := fmt.Sscan(string(stat[after+1:]), &state, &ppid); err != nil || ppid != parent {
			continue
		}
		if pid, err := strconv.Atoi(filepath.Base(filepath.Dir(path))); err == nil {
			pids = append(pids, pid)
		}
	}
	for _, pid := range pids[1:] {
		_ = syscall.Kill(pid, signal) // it may have ended
	}
	return nil
}
