package reach

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"syscall"
	"time"
)

// The environment of git in which this program is its proxy command.
const (
	EnvSocket = "BERTH_REACH"       // the path of the agent's socket
	EnvToken  = "BERTH_REACH_TOKEN" // the route's
)

// Environ returns the environment in which git's proxy command finds the route.
func (r *Route) Environ() []string {
	return []string{EnvSocket + "=" + r.dialer.Socket, EnvToken + "=" + r.token}
}

// IsCommand reports whether this program was called as git's proxy command, with a host and a port.
func IsCommand(args []string, getenv func(string) string) bool {
	return len(args) == 3 && getenv(EnvSocket) != ""
}

// Command is git's proxy command: it connects its stdin and its stdout with a host. It returns when the host has ended.
func Command(host, port string, getenv func(string) string) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: getenv(EnvSocket), Net: "unix"})
	if err != nil {
		return err
	}
	defer conn.Close()
	if _, err := fmt.Fprintf(conn, "%s\n%s\n%s\n", getenv(EnvToken), host, port); err != nil {
		return err
	}
	answer := make([]byte, 1)
	if _, err := io.ReadFull(conn, answer); err != nil {
		return errors.New("the agent does not connect it")
	}
	if answer[0] != '+' {
		why, _ := io.ReadAll(io.LimitReader(conn, 4<<10))
		return errors.New(string(why))
	}
	go func() {
		io.Copy(conn, os.Stdin)
		conn.CloseWrite()
	}()
	_, err = io.Copy(os.Stdout, conn)
	return err
}

// serveCommand serves a connection of Command. Its caller closes it.
func (d *Dialer) serveCommand(conn net.Conn) {
	route, host, port := d.readCommand(conn)
	<-d.strange
	if route == nil {
		return
	}
	remote, err := d.dial(route.ctx, host, port)
	if err != nil {
		route.set(err)
		fmt.Fprintf(conn, "-%s", err)
		return
	}
	defer remote.Close()
	if _, err := conn.Write([]byte("+")); err == nil {
		route.relay(conn, remote)
	}
}

func (d *Dialer) readCommand(conn net.Conn) (route *Route, host, port string) {
	conn.SetReadDeadline(time.Now().Add(handshakeTimeout))
	unix, ok := conn.(*net.UnixConn)
	if !ok || !d.isGit(unix) {
		return nil, "", ""
	}
	// The client sends no more before it has the answer, so that the reader takes nothing away from the relay.
	in := bufio.NewReader(io.LimitReader(conn, 1<<10))
	var words [3]string
	for i := range words {
		word, err := in.ReadString('\n')
		if err != nil {
			return nil, "", ""
		}
		words[i] = strings.TrimSuffix(word, "\n")
	}
	return d.admit(words[0]), words[1], words[2]
}

// isGit reports whether the other side runs under git's uid.
func (d *Dialer) isGit(conn *net.UnixConn) bool {
	raw, err := conn.SyscallConn()
	if err != nil {
		return false
	}
	is := false
	raw.Control(func(fd uintptr) {
		cred, err := syscall.GetsockoptUcred(int(fd), syscall.SOL_SOCKET, syscall.SO_PEERCRED)
		is = err == nil && int(cred.Uid) == d.UID
	})
	return is
}
