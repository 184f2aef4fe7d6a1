// Package names is the resolver of a container's sessions. It stands between them and the engine's resolver, which would tell
// them the names of other containers.
//
// It answers no name without a dot, and gives out no address that the egress policy refuses or that is in the subnet of the
// container's own network. With an allow list, it looks up the names of the list alone, and has the addresses that it gives out
// pinned, so that sessions can connect to them and to no others. With the mode "none" it looks up nothing.
package names

import (
	"cmp"
	"context"
	"encoding/binary"
	"io"
	"net"
	"net/netip"
	"sync"
	"syscall"
	"time"

	"golang.org/x/net/dns/dnsmessage"
	"golang.org/x/time/rate"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/internal/pause"
	"github.com/berth-go/berth/agent/internal/sockdiag"
)

// Config configures a Server.
type Config struct {
	Policy egress.Policy
	// Deny holds the subnets of the container's interfaces, where other containers are.
	Deny     []netip.Prefix
	Upstream []netip.AddrPort // the servers to ask, in this order
	// Dial connects to a server of Upstream over "udp" or "tcp".
	Dial func(ctx context.Context, network, address string) (net.Conn, error)
	// Pin lets sessions connect to addresses for a time. It is called before a session learns them, if the policy is an allow
	// list.
	Pin func(ctx context.Context, addrs []netip.Addr, life time.Duration) error
	// Free reports whether the owner of a socket gets every answer as it is: root, and the agent's git, which may use a proxy
	// of the host's. nil = none does.
	Free func(uid uint32) bool
	// Owner returns the owner of a socket of IPv4. nil = sockdiag.Owner.
	Owner func(protocol byte, local, remote netip.AddrPort) (uid uint32, known bool)
	// Timeout bounds a question to one server. Default 5 s.
	Timeout time.Duration
	// PerSecond is how many queries of one asker are answered in a second for a long time, and Burst how many at once. Those whose
	// owner the kernel does not tell have twice as many. Free is not bound. Default: 100 and 1,024.
	PerSecond float64
	Burst     int
}

// A Server answers queries.
type Server struct {
	Config
	ctx  context.Context
	stop context.CancelFunc
	all  sync.WaitGroup

	mu    sync.Mutex // protects what follows
	busy  map[asker]int
	sum   int // of busy
	rates map[asker]*rate.Limiter
}

// An asker is the owner of the sockets that queries come from. All whose owner the kernel does not tell are one.
type asker struct {
	uid   uint32
	known bool
}

// Bounds of the queries, and of the connections of TCP, that are under way. More are not answered: their senders repeat them. One
// asker may have half of the places. The other half is for askers that have few, so that no session keeps others from looking up names.
const (
	maxBusy    = 512
	fewKnown   = 64  // of one uid
	fewUnknown = 128 // of all that are not known: a kernel may tell none
)

// idle bounds how long a connection of TCP may wait for a query.
const idle = 10 * time.Second

// NewServer returns a Server. Its user closes it.
func NewServer(c Config) *Server {
	c.Timeout = cmp.Or(c.Timeout, 5*time.Second)
	if c.Owner == nil {
		c.Owner = sockdiag.Owner
	}
	c.PerSecond, c.Burst = cmp.Or(c.PerSecond, perSecond), cmp.Or(c.Burst, burst)
	s := &Server{Config: c, busy: make(map[asker]int), rates: make(map[asker]*rate.Limiter)}
	s.ctx, s.stop = context.WithCancel(context.Background())
	return s
}

// Close ends all queries, and returns when they have ended. The sockets that are served must be closed before.
func (s *Server) Close() {
	s.stop()
	s.all.Wait()
}

// begin runs fn in a goroutine, unless too many are busy.
func (s *Server) begin(from asker, fn func()) (begun bool) {
	few := fewUnknown
	if from.known {
		few = fewKnown
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.sum >= maxBusy || s.sum >= maxBusy/2 && s.busy[from] >= few {
		return false
	}
	s.sum++
	s.busy[from]++
	s.all.Go(func() {
		defer s.end(from)
		fn()
	})
	return true
}

func (s *Server) end(from asker) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.sum--
	if s.busy[from]--; s.busy[from] == 0 {
		delete(s.busy, from)
	}
}

// ServePacket answers the queries that come to a socket of UDP, until it is closed.
func (s *Server) ServePacket(c net.PacketConn) error {
	buffer := make([]byte, 4<<10)
	for {
		n, from, err := c.ReadFrom(buffer)
		if err != nil {
			return err
		}
		query := append([]byte(nil), buffer[:n]...)
		asker := s.asker(syscall.IPPROTO_UDP, from, c.LocalAddr())
		s.begin(asker, func() {
			if answer := s.answer(s.ctx, query, false, asker); answer != nil {
				c.WriteTo(answer, from)
			}
		})
	}
}

// Serve answers the queries that come over TCP, until the listener is closed.
func (s *Server) Serve(l net.Listener) error {
	for {
		conn, err := pause.Accept(l, func(error) {})
		if err != nil {
			return err
		}
		asker := s.asker(syscall.IPPROTO_TCP, conn.RemoteAddr(), conn.LocalAddr())
		begun := s.begin(asker, func() {
			defer conn.Close()
			defer context.AfterFunc(s.ctx, func() { conn.Close() })()
			for {
				conn.SetDeadline(time.Now().Add(idle))
				query, err := readFrame(conn)
				if err != nil {
					return
				}
				answer := s.answer(s.ctx, query, true, asker)
				if answer == nil || writeFrame(conn, answer) != nil {
					return
				}
			}
		})
		if !begun {
			conn.Close()
		}
	}
}

// readFrame and writeFrame exchange messages over TCP, each with its length before it.
func readFrame(r io.Reader) ([]byte, error) {
	var size [2]byte
	if _, err := io.ReadFull(r, size[:]); err != nil {
		return nil, err
	}
	b := make([]byte, binary.BigEndian.Uint16(size[:]))
	_, err := io.ReadFull(r, b)
	return b, err
}

func writeFrame(w io.Writer, b []byte) error {
	_, err := w.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(b))), b...))
	return err
}

// asker returns the owner of the socket that a query comes from.
func (s *Server) asker(protocol byte, from, to net.Addr) asker {
	peer, err := netip.ParseAddrPort(from.String())
	own, err2 := netip.ParseAddrPort(to.String())
	if err != nil || err2 != nil || !peer.Addr().Unmap().Is4() {
		return asker{}
	}
	uid, known := s.Owner(protocol, peer, own)
	if !known {
		return asker{}
	}
	return asker{uid, true}
}

// isFree reports whether a query comes from a uid that gets every answer as it is.
func (s *Server) isFree(from asker) bool { return s.Free != nil && from.known && s.Free(from.uid) }

// answer returns the answer to a query; nil = none.
func (s *Server) answer(ctx context.Context, query []byte, tcp bool, from asker) []byte {
	free := s.isFree(from)
	var q dnsmessage.Message
	if !free && !s.inRate(from) || q.Unpack(query) != nil || q.Response {
		return nil
	}
	a := s.reply(ctx, q, free)
	a.ID, a.Response, a.OpCode, a.RecursionDesired, a.RecursionAvailable = q.ID, true, q.OpCode, q.RecursionDesired, true
	a.Questions = q.Questions
	b, err := a.Pack()
	if err != nil {
		return nil
	}
	if !tcp && len(b) > room(q) {
		a.Truncated, a.Answers, a.Authorities = true, nil, nil
		b, _ = a.Pack()
	}
	return b
}

// room returns how long an answer over UDP may be.
func room(q dnsmessage.Message) int {
	for _, r := range q.Additionals {
		if r.Header.Type == dnsmessage.TypeOPT {
			return min(max(int(r.Header.Class), 512), 1232)
		}
	}
	return 512
}
