package agent

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"time"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/wire"
)

// Dial is a request to connect with what a session listens on.
type Dial struct {
	Session string
	Network string // "tcp", "tcp4" or "tcp6"
	Address string // host and port. The host is "", localhost, or an address of the container
	// Ended, unless nil, is called once when the connection is closed or lost.
	Ended func()
}

// Port is a port on which a session listens.
type Port struct {
	Addr netip.AddrPort // an unspecified address means all of its family; of IPv6, mostly those of IPv4, too
	// Pid is a process of the session that has the port, as the session's processes see it, and Program its name, of which Linux
	// keeps 15 bytes. 0 and "" = it is not known.
	Pid     int
	Program string
}

// Ports returns the ports of TCP on which the processes of a session listen, in order. It returns ErrUnknownSession if the session is
// not open, and errors.ErrUnsupported if the agent is too old to tell.
func (c *Client) Ports(ctx context.Context, session string) ([]Port, error) {
	var some []wire.Port
	path := "sessions/" + url.PathEscape(session) + "/ports"
	if err := c.do(ctx, request{method: http.MethodGet, path: path, answer: &some, timeout: short}); err != nil {
		return nil, err
	}
	all := make([]Port, len(some))
	for i, p := range some {
		all[i] = Port{Addr: p.Addr, Pid: p.Pid, Program: gitremote.Line(p.Program, 64)}
	}
	return all, nil
}

// Dial connects with what a session listens on, and with nothing else that its container's network has. ctx bounds the dialling only.
// The connection outlasts connections of the client with the agent: no byte of it is lost or comes twice. It ends with the client.
//
// Dial returns ErrUnknownSession if the session is not open, syscall.ECONNREFUSED if it does not listen there, and
// errors.ErrUnsupported if the agent is too old for it.
func (c *Client) Dial(ctx context.Context, d Dial) (*Conn, error) {
	body, err := json.Marshal(wire.Dial{Session: d.Session, Network: d.Network, Address: d.Address, Manager: c.opts.Manager})
	if err != nil {
		return nil, err
	}
	id := rand.Text()
	path := "commands/" + id // a connection has the streams of a command
	var made *wire.Dialled
	if err := c.do(ctx, request{method: http.MethodPost, path: "connections/" + id, body: body, answer: &made, timeout: longPoll}); err != nil {
		if ctx.Err() != nil {
			c.abandon(path)
		}
		return nil, err
	}
	if made == nil {
		return nil, errIncomplete
	}
	near, far := ConnPair(net.TCPAddrFromAddrPort(made.Local), net.TCPAddrFromAddrPort(made.Remote))
	if !c.spawn(func() { c.carry(path, near, far, d.Ended) }) {
		return nil, ErrClosed
	}
	return near, nil
}

// lingerTime is how long a connection that was closed may take to deliver what was written.
const lingerTime = 20 * time.Second

// carry copies between the caller's end of a connection and the agent's, until the caller closes it or the client ends.
func (c *Client) carry(path string, near, far *Conn, ended func()) {
	if ended != nil {
		defer ended()
	}
	stream := func() *Process {
		p := &Process{c: c, path: path}
		p.ctx, p.cancel = context.WithCancelCause(c.ctx)
		return p
	}
	reading, writing := stream(), stream()
	defer reading.cancel(net.ErrClosed)
	defer writing.cancel(net.ErrClosed)
	received := reading.copyOut("stdout", far, 0, nil)
	sent := writing.copyIn(far)
	go func() {
		<-received.over
		far.stopWriting(received.end.Cut)
	}()
	go func() {
		<-sent.over
		err := sent.end.Cut
		if err == nil {
			err = errReset
		}
		far.stopReading(err)
	}()
	select {
	case <-near.closed:
	case <-c.done:
		far.Break(c.Err())
		return
	}
	reading.cancel(net.ErrClosed)
	late := time.NewTimer(lingerTime)
	defer late.Stop()
	select {
	case <-sent.over:
		if sent.end == (StreamEnd{}) {
			c.afterwards(http.MethodDelete, path)
			return
		}
	case <-late.C:
	case <-c.done:
		return
	}
	c.afterwards(http.MethodDelete, path+"?reset=1") // or the other side would take what it has for the whole
}
