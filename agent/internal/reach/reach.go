// Package reach connects git to its remotes. Git itself connects to no address: it asks the agent, which resolves the remote's
// name, checks the addresses against the container's egress policy, and connects to an address that it has checked. So
// neither another spelling of an address nor a redirect nor a name that resolves differently the next time leads git to an
// address that is refused.
//
// For http and https, git uses a SOCKS5 proxy of the agent's. For ssh and git, it runs the agent's program as its proxy command,
// which talks to the agent over a Unix socket.
package reach

import (
	"cmp"
	"context"
	"crypto/rand"
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/internal/sockdiag"
)

// Config configures a Dialer. Zero durations are the defaults that their comments give.
type Config struct {
	Policy egress.Policy
	UID    int    // of git; other peers are cut off
	Socket string // the path of the Unix socket for proxy commands
	// Nameserver is the address of the server to look names up at. The zero value means those of /etc/resolv.conf.
	Nameserver netip.AddrPort
	// Tells reports whether the kernel tells the owner of a connection. nil = sockdiag.Tells, asked once.
	Tells func() bool

	ConnectTimeout time.Duration // how long a remote may leave a connection unanswered. Default 30 s
	AnswerTimeout  time.Duration // how long a remote may accept a connection and send nothing. Default 75 s
}

// A Dialer serves git's requests for connections, each of which belongs to a Route.
type Dialer struct {
	Config
	resolver *net.Resolver
	ports    *ports
	socks    net.Listener
	unix     net.Listener
	ctx      context.Context
	stop     context.CancelFunc
	serving  sync.WaitGroup
	strange  chan struct{} // bounds the connections that have not shown a route
	table    sockdiag.Table

	mu     sync.Mutex        // protects what follows
	routes map[string]*Route // by token
}

// maxStrange bounds the connections that have not shown a route yet.
const maxStrange = 64

// handshakeTimeout bounds how long a connection may take to show its route.
const handshakeTimeout = 10 * time.Second

// Open returns a Dialer that serves. It takes its ports before any session can.
func Open(c Config) (*Dialer, error) {
	c.ConnectTimeout = cmp.Or(c.ConnectTimeout, 30*time.Second)
	if c.Tells == nil {
		c.Tells = sync.OnceValue(sockdiag.Tells)
	}
	c.AnswerTimeout = cmp.Or(c.AnswerTimeout, 75*time.Second)
	d := &Dialer{Config: c, ports: holdPorts(), strange: make(chan struct{}, maxStrange), routes: make(map[string]*Route)}
	d.resolver = &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, address string) (net.Conn, error) {
		if c.Nameserver.IsValid() {
			address = c.Nameserver.String()
		}
		return d.ports.dial(ctx, network, address)
	}}
	d.ctx, d.stop = context.WithCancel(context.Background())
	var err error
	if d.socks, err = net.Listen("tcp4", "127.0.0.1:0"); err != nil {
		d.Close()
		return nil, err
	}
	if err := os.Remove(c.Socket); err != nil && !os.IsNotExist(err) {
		d.Close()
		return nil, err
	}
	if d.unix, err = net.Listen("unix", c.Socket); err != nil {
		d.Close()
		return nil, err
	}
	if err := errors.Join(os.Chown(c.Socket, c.UID, c.UID), os.Chmod(c.Socket, 0o600)); err != nil {
		d.Close()
		return nil, err
	}
	d.serving.Go(func() { d.accept(d.socks, d.serveSOCKS) })
	d.serving.Go(func() { d.accept(d.unix, d.serveCommand) })
	return d, nil
}

// Close ends all connections, and returns when they have ended.
func (d *Dialer) Close() {
	d.stop()
	for _, l := range []net.Listener{d.socks, d.unix} {
		if l != nil {
			l.Close()
		}
	}
	d.serving.Wait()
	d.ports.release()
}

// A Route is the permission of one git to connect, and what came of it.
type Route struct {
	dialer *Dialer
	token  string
	ctx    context.Context // ends with the route
	end    context.CancelFunc

	mu  sync.Mutex // protects err
	err error      // why a connection could not be made, or was cut; the first that is final wins
}

// Open returns a new route, which its user closes.
func (d *Dialer) Open() *Route {
	r := &Route{dialer: d, token: rand.Text()}
	r.ctx, r.end = context.WithCancel(d.ctx)
	d.mu.Lock()
	defer d.mu.Unlock()
	d.routes[r.token] = r
	return r
}

// Close ends the route and its connections.
func (r *Route) Close() {
	r.end()
	r.dialer.mu.Lock()
	defer r.dialer.mu.Unlock()
	delete(r.dialer.routes, r.token)
}

// Err returns why the last connection failed; nil = it did not. An *egress.Refused is kept once it has come.
func (r *Route) Err() error {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.err
}

func (r *Route) set(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, final := errors.AsType[*egress.Refused](r.err); !final {
		r.err = err
	}
}

// Proxy returns the URL of the proxy for http and https. It is a secret.
func (r *Route) Proxy() string {
	return "socks5h://berth:" + r.token + "@" + r.dialer.socks.Addr().String()
}

// accept serves the connections of a listener.
func (d *Dialer) accept(l net.Listener, serve func(net.Conn)) {
	for {
		conn, err := l.Accept()
		if err != nil {
			if d.ctx.Err() != nil {
				return
			}
			time.Sleep(10 * time.Millisecond) // no descriptor is free
			continue
		}
		select {
		case d.strange <- struct{}{}:
		default: // sessions have opened too many
			conn.Close()
			continue
		}
		d.serving.Go(func() {
			defer conn.Close()
			defer context.AfterFunc(d.ctx, func() { conn.Close() })()
			conn.SetDeadline(time.Now().Add(handshakeTimeout))
			serve(conn)
		})
	}
}

// admit returns the route of a connection that has shown its token.
func (d *Dialer) admit(token string) *Route {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.routes[token]
}

// relay copies between git and a remote until both have ended. It cuts them off if the remote sends nothing at all.
func (r *Route) relay(git, remote net.Conn) {
	answered := time.AfterFunc(r.dialer.AnswerTimeout, func() {
		r.set(words("the remote does not answer: it took the connection and sent nothing for " + r.dialer.AnswerTimeout.String()))
		remote.Close()
		git.Close()
	})
	defer answered.Stop()
	defer context.AfterFunc(r.ctx, func() {
		remote.Close()
		git.Close()
	})()
	git.SetDeadline(time.Time{})
	sent := make(chan struct{})
	go func() {
		defer close(sent)
		io.Copy(remote, git)
		closeWrite(remote)
	}()
	first := make([]byte, 32<<10)
	n, _ := remote.Read(first)
	if n > 0 && answered.Stop() {
		if _, err := git.Write(first[:n]); err == nil {
			io.Copy(git, remote)
		}
	}
	closeWrite(git)
	select {
	case <-sent:
	case <-time.After(time.Second): // git may go on with its input; its output is over
		git.Close()
		remote.Close()
		<-sent
	}
}

func closeWrite(c net.Conn) {
	if half, ok := c.(interface{ CloseWrite() error }); ok {
		half.CloseWrite()
	}
}
