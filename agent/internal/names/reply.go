package names

import (
	"context"
	"errors"
	"math/rand/v2"
	"net/netip"
	"slices"
	"strings"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/berth-go/berth/agent/egress"
)

// The types that dnsmessage has no names for.
const (
	typeSVCB  = dnsmessage.Type(64)
	typeHTTPS = dnsmessage.Type(65)
)

// The bounds of a pin's life. A session gets the same time to live, less the grace.
const (
	shortest = time.Minute
	longest  = time.Hour
	grace    = time.Minute
)

// reply returns the answer to a question, without what it has of the question.
func (s *Server) reply(ctx context.Context, q dnsmessage.Message, free bool) dnsmessage.Message {
	if q.OpCode != 0 || len(q.Questions) != 1 || q.Questions[0].Class != dnsmessage.ClassINET {
		return code(dnsmessage.RCodeNotImplemented)
	}
	question := q.Questions[0]
	name := strings.ToLower(strings.TrimSuffix(question.Name.String(), "."))
	if name == "localhost" || strings.HasSuffix(name, ".localhost") {
		return loopback(question)
	}
	if free {
		got, err := s.ask(ctx, question)
		if err != nil {
			return code(dnsmessage.RCodeServerFailure)
		}
		got.Additionals = nil
		return got
	}
	if !s.mayAsk(name, question.Type) {
		return code(dnsmessage.RCodeNameError)
	}
	listed := s.Policy.Mode == egress.AllowList
	if listed && (question.Type == typeSVCB || question.Type == typeHTTPS) {
		return code(dnsmessage.RCodeSuccess) // they may have addresses of their own; A and AAAA are asked for then
	}
	got, err := s.ask(ctx, question)
	if err != nil {
		return code(dnsmessage.RCodeServerFailure)
	}
	addrs, life := s.filter(&got)
	if listed && len(addrs) > 0 {
		if s.Pin == nil || s.Pin(ctx, addrs, life+grace) != nil {
			return code(dnsmessage.RCodeServerFailure)
		}
	}
	return got
}

func code(c dnsmessage.RCode) dnsmessage.Message {
	return dnsmessage.Message{Header: dnsmessage.Header{RCode: c}}
}

func loopback(q dnsmessage.Question) dnsmessage.Message {
	m := code(dnsmessage.RCodeSuccess)
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: 60}
	switch q.Type {
	case dnsmessage.TypeA:
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AResource{A: [4]byte{127, 0, 0, 1}}}}
	case dnsmessage.TypeAAAA:
		m.Answers = []dnsmessage.Resource{{Header: header, Body: &dnsmessage.AAAAResource{AAAA: netip.IPv6Loopback().As16()}}}
	}
	return m
}

// networkPrefix begins the names of the pools' networks. The engine's resolver knows each container as NAME.NETWORK, too. That there is
// such a name would already tell that a repository is worked on, whatever its addresses are.
const networkPrefix = "berth-"

// mayAsk reports whether a name may be looked up.
func (s *Server) mayAsk(name string, kind dnsmessage.Type) bool {
	switch {
	case !strings.Contains(name, "."): // a container's, or that of a machine nearby
		return false
	case strings.HasPrefix(name[strings.LastIndexByte(name, '.')+1:], networkPrefix): // a container's, and the pool's network
		return false
	case s.Policy.Mode == egress.None:
		return false
	case s.Policy.Mode == egress.AllowList:
		return s.Policy.Allows(name)
	case kind != dnsmessage.TypePTR:
		return true
	}
	addr, ok := reverse(name)
	return ok && s.gives(addr)
}

// reverse returns the address that the name of a PTR record stands for.
func reverse(name string) (netip.Addr, bool) {
	if labels, ok := strings.CutSuffix(name, ".in-addr.arpa"); ok {
		parts := strings.Split(labels, ".")
		slices.Reverse(parts)
		addr, err := netip.ParseAddr(strings.Join(parts, "."))
		return addr, err == nil && addr.Is4()
	}
	labels, ok := strings.CutSuffix(name, ".ip6.arpa")
	digits := strings.Split(labels, ".")
	if !ok || len(digits) != 32 {
		return netip.Addr{}, false
	}
	slices.Reverse(digits)
	var text strings.Builder
	for i, digit := range digits {
		if i > 0 && i%4 == 0 {
			text.WriteByte(':')
		}
		text.WriteString(digit)
	}
	addr, err := netip.ParseAddr(text.String())
	return addr, err == nil
}

// gives reports whether sessions may learn an address.
func (s *Server) gives(addr netip.Addr) bool {
	addr = addr.Unmap()
	return s.Policy.Check(addr) == nil && !slices.ContainsFunc(s.Deny, func(net netip.Prefix) bool { return net.Contains(addr) })
}

// filter removes addresses that sessions may not learn from an answer, and bounds how long it may be kept. It returns the
// addresses that are left, and that time.
func (s *Server) filter(m *dnsmessage.Message) (addrs []netip.Addr, life time.Duration) {
	life = longest
	for _, r := range m.Answers {
		life = min(life, max(time.Duration(r.Header.TTL)*time.Second, shortest))
	}
	refuse := func(r dnsmessage.Resource) bool {
		addr := netip.Addr{}
		switch body := r.Body.(type) {
		case *dnsmessage.AResource:
			addr = netip.AddrFrom4(body.A)
		case *dnsmessage.AAAAResource:
			addr = netip.AddrFrom16(body.AAAA)
		default:
			return r.Header.Type == dnsmessage.TypeOPT
		}
		if !s.gives(addr) {
			return true
		}
		addrs = append(addrs, addr)
		return false
	}
	m.Answers = slices.DeleteFunc(m.Answers, refuse)
	m.Additionals = nil // they may have addresses, and are not needed
	for i := range m.Answers {
		m.Answers[i].Header.TTL = min(m.Answers[i].Header.TTL, uint32(life/time.Second))
	}
	return addrs, life
}

var errNoAnswer = errors.New("no server answers")

// ask asks the servers, one after another.
func (s *Server) ask(ctx context.Context, q dnsmessage.Question) (dnsmessage.Message, error) {
	query := dnsmessage.Message{
		Header:    dnsmessage.Header{ID: uint16(rand.Uint32()), RecursionDesired: true},
		Questions: []dnsmessage.Question{q},
	}
	for _, server := range s.Upstream {
		for _, network := range []string{"udp", "tcp"} { // TCP if the answer does not fit
			m, err := s.exchange(ctx, network, server.String(), query)
			if err != nil || m.RCode == dnsmessage.RCodeServerFailure || m.RCode == dnsmessage.RCodeRefused {
				break
			}
			if !m.Truncated {
				return m, nil
			}
		}
	}
	return dnsmessage.Message{}, errNoAnswer
}

func (s *Server) exchange(ctx context.Context, network, server string, query dnsmessage.Message) (m dnsmessage.Message, err error) {
	ctx, cancel := context.WithTimeout(ctx, s.Timeout)
	defer cancel()
	b, err := query.Pack()
	if err != nil {
		return m, err
	}
	conn, err := s.Dial(ctx, network, server)
	if err != nil {
		return m, err
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	if network == "tcp" {
		err = writeFrame(conn, b)
	} else {
		_, err = conn.Write(b)
	}
	buffer := make([]byte, 4<<10)
	for err == nil {
		answer := buffer
		if network == "tcp" {
			answer, err = readFrame(conn)
		} else {
			var n int
			n, err = conn.Read(buffer)
			answer = buffer[:n]
		}
		if err != nil {
			break
		}
		var got dnsmessage.Message
		if got.Unpack(answer) == nil && got.Response && got.ID == query.ID && slices.Equal(got.Questions, query.Questions) {
			return got, nil
		}
		if network == "tcp" {
			return m, errNoAnswer
		}
	}
	return m, err
}
