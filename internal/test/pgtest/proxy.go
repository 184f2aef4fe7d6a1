package pgtest

import (
	"encoding/binary"
	"errors"
	"io"
	"net"
	"sync"
	"testing"
)

// Proxy stands between clients and a server, and may lose their messages.
type Proxy struct {
	Addr string

	server   *Server
	listener net.Listener
	pumps    sync.WaitGroup

	mu      sync.Mutex
	conns   map[net.Conn]bool // guarded by mu; both ends of each connection
	refuses bool              // guarded by mu
	mute    chan struct{}     // guarded by mu; nil = messages pass; otherwise none passes until it is closed
	left    int               // guarded by mu; messages until the cut; < 0 = none
	from    Side              // guarded by mu; the side whose messages count
	pattern func(Message) bool
}

// Side is one end of a connection.
type Side int

// The sides of a connection.
const (
	Client Side = iota
	Backend
)

// Message is one message of the protocol. The first message of a client has no type.
type Message struct {
	From Side
	Type byte
	Body []byte
}

// StartProxy returns a proxy in front of the server. It ends with the test.
func (s *Server) StartProxy(t testing.TB) *Proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &Proxy{Addr: l.Addr().String(), server: s, listener: l, conns: map[net.Conn]bool{}, left: -1}
	p.pumps.Go(p.accept)
	t.Cleanup(func() {
		l.Close()
		p.Pass()
		p.mu.Lock()
		p.refuses = true
		p.mu.Unlock()
		p.Cut()
		p.pumps.Wait()
	})
	return p
}

// DSN returns the connection URL of a database through the proxy.
func (p *Proxy) DSN(database string) string { return p.server.dsn(p.Addr, database) }

// Cut breaks every connection.
func (p *Proxy) Cut() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut()
}

func (p *Proxy) cut() {
	for c := range p.conns {
		c.Close()
	}
	clear(p.conns)
	p.left = -1
}

// CutAfter breaks every connection after n more messages of one side that are of interest. nil means all are. No later
// message passes.
func (p *Proxy) CutAfter(n int, from Side, of func(Message) bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.left, p.from, p.pattern = n, from, of
}

// Refuse breaks every connection, and refuses new ones until Pass.
func (p *Proxy) Refuse() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.refuses = true
	p.cut()
}

// Mute stops passing messages on, without breaking connections, until Pass.
func (p *Proxy) Mute() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.mute == nil {
		p.mute = make(chan struct{})
	}
}

// Pass undoes Refuse, Mute and CutAfter. It reports whether a cut was still to come.
func (p *Proxy) Pass() (waited bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	waited = p.left >= 0
	p.refuses, p.left = false, -1
	if p.mute != nil {
		close(p.mute)
		p.mute = nil
	}
	return waited
}

func (p *Proxy) accept() {
	for {
		client, err := p.listener.Accept()
		if err != nil {
			return
		}
		server, err := net.Dial("tcp", p.server.Addr)
		if err != nil {
			client.Close()
			continue
		}
		p.mu.Lock()
		if p.refuses {
			client.Close()
			server.Close()
		} else {
			p.conns[client], p.conns[server] = true, true
		}
		p.mu.Unlock()
		p.pumps.Go(func() { p.pump(client, server, Client) })
		p.pumps.Go(func() { p.pump(server, client, Backend) })
	}
}

// pump passes messages on from one end to the other.
func (p *Proxy) pump(from, to net.Conn, side Side) {
	defer func() {
		from.Close()
		to.Close()
		p.mu.Lock()
		delete(p.conns, from)
		p.mu.Unlock()
	}()
	for first := side == Client; ; first = false {
		raw, m, err := read(from, first)
		if err != nil {
			return
		}
		m.From = side
		if err := p.pass(to, raw, m); err != nil {
			return
		}
	}
}

var errCut = errors.New("pgtest: the connections are cut")

// pass waits while the proxy is mute, and then passes a message on, unless it cuts the connections before.
func (p *Proxy) pass(to net.Conn, raw []byte, m Message) error {
	p.mu.Lock()
	for p.mute != nil {
		mute := p.mute
		p.mu.Unlock()
		<-mute
		p.mu.Lock()
	}
	if p.counts(m) {
		if p.left--; p.left <= 0 {
			defer p.mu.Unlock() // no answer passes before the cut
			if p.left == 0 {
				to.Write(raw)
			}
			p.cut()
			return errCut
		}
	}
	p.mu.Unlock()
	_, err := to.Write(raw)
	return err
}

func (p *Proxy) counts(m Message) bool {
	return p.left >= 0 && m.From == p.from && (p.pattern == nil || p.pattern(m))
}

// read reads one message.
func read(from io.Reader, first bool) (raw []byte, m Message, err error) {
	head := 5
	if first {
		head = 4
	}
	raw = make([]byte, head)
	if _, err := io.ReadFull(from, raw); err != nil {
		return nil, m, err
	}
	size := int(binary.BigEndian.Uint32(raw[head-4:])) - 4
	if size < 0 || size > 1<<30 {
		return nil, m, errors.New("pgtest: no message of the protocol")
	}
	raw = append(raw, make([]byte, size)...)
	if _, err := io.ReadFull(from, raw[head:]); err != nil {
		return nil, m, err
	}
	if !first {
		m.Type = raw[0]
	}
	m.Body = raw[head:]
	return raw, m, nil
}
