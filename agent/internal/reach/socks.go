package reach

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/netip"
	"strconv"

	"github.com/berth-go/berth/agent/egress"
)

// The parts of SOCKS5 that curl uses: RFC 1928, with a user name and a password as in RFC 1929.
const (
	socksVersion   = 5
	methodPassword = 2
	noMethod       = 255
	authVersion    = 1
	connect        = 1
	typeIPv4       = 1
	typeName       = 3
	typeIPv6       = 4

	replyOK         = 0
	replyFailed     = 1
	replyNotAllowed = 2
	replyNoCommand  = 7
)

var errSOCKS = errors.New("no SOCKS5 request of git's")

// serveSOCKS serves one connection. Its caller closes it.
func (d *Dialer) serveSOCKS(conn net.Conn) {
	route, host, port, err := d.greet(conn)
	<-d.strange
	if err != nil {
		return
	}
	remote, err := d.dial(route.ctx, host, port)
	if err != nil {
		route.set(err)
		code := byte(replyFailed)
		if _, refused := errors.AsType[*egress.Refused](err); refused {
			code = replyNotAllowed
		}
		reply(conn, code)
		return
	}
	defer remote.Close()
	if reply(conn, replyOK) == nil {
		route.relay(conn, remote)
	}
}

// greet reads the request of a connection that has shown a route.
func (d *Dialer) greet(conn net.Conn) (route *Route, host, port string, err error) {
	if !d.mayBeGit(conn) {
		return nil, "", "", errSOCKS
	}
	version, err := read(conn, 2)
	if err != nil || version[0] != socksVersion {
		return nil, "", "", errSOCKS
	}
	methods, err := read(conn, int(version[1]))
	if err != nil {
		return nil, "", "", err
	}
	choice := byte(noMethod)
	for _, m := range methods {
		if m == methodPassword {
			choice = m
		}
	}
	if _, err := conn.Write([]byte{socksVersion, choice}); err != nil || choice == noMethod {
		return nil, "", "", errSOCKS
	}
	head, err := read(conn, 2)
	if err != nil || head[0] != authVersion {
		return nil, "", "", errSOCKS
	}
	if _, err := read(conn, int(head[1])); err != nil {
		return nil, "", "", err
	}
	token, err := readField(conn)
	if err != nil {
		return nil, "", "", err
	}
	route = d.admit(string(token))
	if route == nil {
		conn.Write([]byte{authVersion, 1})
		return nil, "", "", errSOCKS
	}
	if _, err := conn.Write([]byte{authVersion, 0}); err != nil {
		return nil, "", "", err
	}
	host, port, err = readRequest(conn)
	return route, host, port, err
}

// readRequest reads the address to connect to.
func readRequest(conn net.Conn) (host, port string, err error) {
	head, err := read(conn, 4)
	if err != nil || head[0] != socksVersion {
		return "", "", errSOCKS
	}
	if head[1] != connect {
		reply(conn, replyNoCommand)
		return "", "", errSOCKS
	}
	switch head[3] {
	case typeName:
		name, err := readField(conn)
		if err != nil {
			return "", "", err
		}
		host = string(name)
	case typeIPv4, typeIPv6:
		size := 4
		if head[3] == typeIPv6 {
			size = 16
		}
		b, err := read(conn, size)
		if err != nil {
			return "", "", err
		}
		addr, _ := netip.AddrFromSlice(b)
		host = addr.String()
	default:
		return "", "", errSOCKS
	}
	b, err := read(conn, 2)
	if err != nil {
		return "", "", err
	}
	return host, strconv.Itoa(int(binary.BigEndian.Uint16(b))), nil
}

func reply(conn net.Conn, code byte) error {
	_, err := conn.Write([]byte{socksVersion, code, 0, typeIPv4, 0, 0, 0, 0, 0, 0})
	return err
}

func read(conn net.Conn, n int) ([]byte, error) {
	b := make([]byte, n)
	_, err := io.ReadFull(conn, b)
	return b, err
}

// readField reads a field with its length before it.
func readField(conn net.Conn) ([]byte, error) {
	n, err := read(conn, 1)
	if err != nil {
		return nil, err
	}
	return read(conn, int(n[0]))
}
