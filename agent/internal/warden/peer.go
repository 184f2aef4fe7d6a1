package warden

import (
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"syscall"
)

// program is the path of an agent in its container.
const program = "/berth/bin/berth-agent"

// A peer is the first process of a container, and by that the container. Its pid stays its own while pidfd is open.
type peer struct {
	pid    int
	pidfd  int
	status status
}

// identify returns the peer of a connection if it is the agent of a container. Every message of the connection must be
// sent by it, too: the process that connected may have ended since, and another one may have its pid.
func identify(conn *net.UnixConn) (*peer, error) {
	cred, err := credentials(conn)
	if err != nil {
		return nil, err
	}
	if cred.Uid != 0 || cred.Pid <= 0 {
		return nil, fmt.Errorf("process %d of uid %d is no agent", cred.Pid, cred.Uid)
	}
	pidfd, err := pidfdOpen(int(cred.Pid))
	if err != nil {
		return nil, err
	}
	p := &peer{pid: int(cred.Pid), pidfd: pidfd}
	if err := p.check(); err != nil {
		p.close()
		return nil, fmt.Errorf("process %d: %w", p.pid, err)
	}
	return p, nil
}

func (p *peer) close() { syscall.Close(p.pidfd) }

func (p *peer) check() (err error) {
	if p.status, err = readStatus(p.pid); err != nil {
		return err
	}
	if pids := p.status.pids(); len(pids) < 2 || pids[len(pids)-1] != 1 {
		return errors.New("it is not the first process of a container")
	}
	if uids := p.status["Uid"]; uids != "0\t0\t0\t0" {
		return fmt.Errorf("it does not run as root, but as %q", uids)
	}
	if err := differ(p.pid, "pid", "mnt"); err != nil {
		return err
	}
	own, err := os.Readlink("/proc/self/ns/user")
	if err != nil {
		return err
	}
	if its, err := os.Readlink(procPath(p.pid, "ns/user")); err != nil || its != own {
		return errors.New("it is in a user namespace of its own")
	}
	exe, err := os.Readlink(procPath(p.pid, "exe"))
	if err != nil {
		return err
	}
	if exe != program {
		return fmt.Errorf("its program is %s", exe)
	}
	return nil
}

// differ returns an error if a process shares one of some namespaces with this program.
func differ(pid int, namespaces ...string) error {
	for _, ns := range namespaces {
		its, err := os.Readlink(procPath(pid, "ns/"+ns))
		if err != nil {
			return err
		}
		own, err := os.Readlink("/proc/self/ns/" + ns)
		if err != nil {
			return err
		}
		if its == own {
			return fmt.Errorf("it is in the warden's own %s namespace", ns)
		}
	}
	return nil
}

// passCredentials makes every message of a connection tell who sent it. Connections take it over from their listener.
func passCredentials(conn syscall.Conn) error {
	return control(conn, func(fd int) error { return syscall.SetsockoptInt(fd, syscall.SOL_SOCKET, syscall.SO_PASSCRED, 1) })
}

// credentials returns who connected.
func credentials(conn *net.UnixConn) (cred *syscall.Ucred, err error) {
	err = errors.Join(passCredentials(conn), control(conn, func(fd int) (err error) {
		cred, err = syscall.GetsockoptUcred(fd, syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		return err
	}))
	return cred, err
}

func control(conn syscall.Conn, f func(fd int) error) error {
	raw, err := conn.SyscallConn()
	if err != nil {
		return err
	}
	var failed error
	err = raw.Control(func(fd uintptr) { failed = f(int(fd)) })
	return errors.Join(err, failed)
}

// validID reports whether an ID may be part of a cgroup's name.
func validID(id string) bool {
	return id != "" && len(id) <= 128 && !slices.ContainsFunc([]byte(id), func(c byte) bool {
		return !(c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9' || c == '-')
	})
}
