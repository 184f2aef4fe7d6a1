package names_test

import (
	"context"
	"errors"
	"net"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/berth-go/berth/agent/egress"
	"github.com/berth-go/berth/agent/internal/names"
)

// upstream is a server like the engine's: it knows containers, and all else.
type upstream struct {
	mu     sync.Mutex
	asked  []string
	answer map[string][]string // addresses by name
	ttl    uint32
}

func (u *upstream) reply(query []byte, tcp bool) []byte {
	var m dnsmessage.Message
	if m.Unpack(query) != nil || len(m.Questions) != 1 {
		return nil
	}
	q := m.Questions[0]
	name := strings.TrimSuffix(q.Name.String(), ".")
	u.mu.Lock()
	u.asked = append(u.asked, name)
	u.mu.Unlock()
	m.Response, m.Additionals = true, nil
	header := dnsmessage.ResourceHeader{Name: q.Name, Type: q.Type, Class: q.Class, TTL: u.ttl}
	for _, text := range u.answer[name] {
		addr, err := netip.ParseAddr(text)
		switch {
		case err != nil && q.Type == dnsmessage.TypePTR:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.PTRResource{PTR: dnsmessage.MustNewName(text)}})
		case err == nil && addr.Is4() && q.Type == dnsmessage.TypeA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AResource{A: addr.As4()}})
		case err == nil && addr.Is6() && q.Type == dnsmessage.TypeAAAA:
			m.Answers = append(m.Answers, dnsmessage.Resource{Header: header, Body: &dnsmessage.AAAAResource{AAAA: addr.As16()}})
		}
	}
	b, err := m.Pack()
	if err == nil && !tcp && len(b) > 512 {
		m.Truncated, m.Answers = true, nil
		b, _ = m.Pack()
	}
	return b
}

// serve serves the upstream over both transports, and returns its address.
func (u *upstream) serve(t *testing.T) netip.AddrPort {
	t.Helper()
	l, p := listen(t)
	go func() {
		b := make([]byte, 2<<10)
		for {
			n, from, err := p.ReadFrom(b)
			if err != nil {
				return
			}
			if a := u.reply(b[:n], false); a != nil {
				p.WriteTo(a, from)
			}
		}
	}()
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			size := make([]byte, 2)
			conn.Read(size)
			query := make([]byte, int(size[0])<<8|int(size[1]))
			conn.Read(query)
			a := u.reply(query, true)
			conn.Write(append([]byte{byte(len(a) >> 8), byte(len(a))}, a...))
			conn.Close()
		}
	}()
	return netip.MustParseAddrPort(l.Addr().String())
}

// listen returns sockets of both transports with one port.
func listen(t *testing.T) (net.Listener, net.PacketConn) {
	t.Helper()
	for range 20 {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		p, err := net.ListenPacket("udp", l.Addr().String())
		if err != nil {
			l.Close()
			continue
		}
		t.Cleanup(func() { l.Close(); p.Close() })
		return l, p
	}
	t.Fatal("no port is free")
	return nil, nil
}

// resolver returns the resolver of a session.
func resolver(t *testing.T, c names.Config) *net.Resolver {
	t.Helper()
	l, p := listen(t)
	c.Dial = new(net.Dialer).DialContext
	s := names.NewServer(c)
	var serving sync.WaitGroup
	serving.Go(func() { s.Serve(l) })
	serving.Go(func() { s.ServePacket(p) })
	t.Cleanup(func() {
		l.Close()
		p.Close()
		s.Close()
		serving.Wait()
	})
	return &net.Resolver{PreferGo: true, Dial: func(ctx context.Context, network, _ string) (net.Conn, error) {
		return new(net.Dialer).DialContext(ctx, network, l.Addr().String())
	}}
}

func policy(t *testing.T, mode egress.Mode, allow ...string) egress.Policy {
	t.Helper()
	p, err := egress.Parse(mode, allow)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestNames(t *testing.T) {
	many := make([]string, 60)
	for i := range many {
		many[i] = netip.AddrFrom4([4]byte{8, 8, 4, byte(i)}).String()
	}
	engine := &upstream{ttl: 30, answer: map[string][]string{
		"repo-acme-shop-1f3a9c07qz": {"172.20.0.3"}, "repo-acme-shop-1f3a9c07qz.berth-net": {"172.20.0.3"}, "3.0.20.172.in-addr.arpa": {"repo-acme-shop-1f3a9c07qz.berth-net."},
		"public.example": {"8.8.8.8", "2606:4700::1111"}, "mixed.example": {"10.0.0.1", "8.8.8.8", "::1"}, "rebound.example": {"169.254.169.254"},
		"private.example": {"10.0.0.1"}, "many.example": many, "8.8.8.8.in-addr.arpa": {"dns.example."}, "mapped.example": {"::ffff:10.0.0.1"},
	}}
	server := engine.serve(t)
	subnet := []netip.Prefix{netip.MustParsePrefix("172.20.0.0/16")}
	for _, c := range []struct {
		policy egress.Policy
		name   string
		want   []string // nil = not found
	}{
		{policy(t, egress.Open), "public.example", []string{"2606:4700::1111", "8.8.8.8"}},
		{policy(t, egress.Open), "mixed.example", []string{"8.8.8.8"}},
		{policy(t, egress.Open), "rebound.example", nil},
		{policy(t, egress.Open), "private.example", nil},
		{policy(t, egress.Open), "mapped.example", nil},
		{policy(t, egress.Open, "10.0.0.0/8"), "private.example", []string{"10.0.0.1"}},
		{policy(t, egress.Open), "many.example", many},
		{policy(t, egress.Open), "nothing.example", nil},
		{policy(t, egress.Open), "localhost", []string{"127.0.0.1", "::1"}},
		{policy(t, egress.Open, "172.16.0.0/12"), "repo-acme-shop-1f3a9c07qz", nil},
		{policy(t, egress.Open, "172.16.0.0/12"), "repo-acme-shop-1f3a9c07qz.berth-net", nil},
		{policy(t, egress.None), "public.example", nil},
		{policy(t, egress.AllowList, "public.example"), "public.example", []string{"2606:4700::1111", "8.8.8.8"}},
		{policy(t, egress.AllowList, "*.example"), "mixed.example", []string{"8.8.8.8"}},
		{policy(t, egress.AllowList, "public.example"), "mixed.example", nil},
		{policy(t, egress.AllowList, "8.8.8.8"), "public.example", nil},
	} {
		var mu sync.Mutex // protects pinned
		var pinned []string
		r := resolver(t, names.Config{Policy: c.policy, Deny: subnet, Upstream: []netip.AddrPort{server}, Pin: func(_ context.Context, addrs []netip.Addr, life time.Duration) error {
			mu.Lock()
			defer mu.Unlock()
			for _, a := range addrs {
				pinned = append(pinned, a.String())
			}
			if life < 2*time.Minute || life > time.Hour {
				t.Errorf("a pin lives for %v", life)
			}
			return nil
		}})
		got, err := r.LookupHost(t.Context(), c.name+".")
		if c.name == "localhost" || !strings.Contains(c.name, ".") {
			got, err = query(t, r, c.name)
		}
		slices.Sort(got)
		want := slices.Sorted(slices.Values(c.want))
		if !slices.Equal(got, want) || (err == nil) != (want != nil) {
			t.Errorf("%v: %s is %v, %v; want %v", c.policy, c.name, got, err, want)
		}
		mu.Lock()
		slices.Sort(pinned)
		if c.policy.Mode == egress.AllowList && !slices.Equal(pinned, want) || c.policy.Mode != egress.AllowList && pinned != nil {
			t.Errorf("%v: %s: pinned %v", c.policy, c.name, pinned)
		}
		mu.Unlock()
	}
	r := resolver(t, names.Config{Deny: subnet, Upstream: []netip.AddrPort{server}})
	if got, err := r.LookupAddr(t.Context(), "8.8.8.8"); err != nil || !slices.Equal(got, []string{"dns.example."}) {
		t.Errorf("%v, %v", got, err)
	}
	if got, err := r.LookupAddr(t.Context(), "172.20.0.3"); err == nil {
		t.Errorf("a neighbour's address has the name %v", got)
	}
	engine.mu.Lock()
	defer engine.mu.Unlock()
	for _, name := range engine.asked {
		if !strings.Contains(name, ".") || strings.Contains(name, "berth-net") || name == "3.0.20.172.in-addr.arpa" {
			t.Errorf("the engine was asked for %s", name)
		}
	}
}

// query asks for a name as it is, also if the Go resolver would not ask for it.
func query(t *testing.T, r *net.Resolver, name string) (addrs []string, err error) {
	t.Helper()
	for _, kind := range []dnsmessage.Type{dnsmessage.TypeA, dnsmessage.TypeAAAA} {
		m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName(name + "."), Type: kind, Class: dnsmessage.ClassINET}}}
		b, _ := m.Pack()
		conn, err := r.Dial(t.Context(), "udp", "")
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(10 * time.Second))
		conn.Write(b)
		answer := make([]byte, 2<<10)
		n, err := conn.Read(answer)
		if err != nil {
			t.Fatal(err)
		}
		if err := m.Unpack(answer[:n]); err != nil {
			t.Fatal(err)
		}
		if m.ID != 7 || !m.Response {
			t.Errorf("%+v", m.Header)
		}
		for _, a := range m.Answers {
			switch body := a.Body.(type) {
			case *dnsmessage.AResource:
				addrs = append(addrs, netip.AddrFrom4(body.A).String())
			case *dnsmessage.AAAAResource:
				addrs = append(addrs, netip.AddrFrom16(body.AAAA).String())
			}
		}
	}
	if addrs == nil {
		err = errors.New("no address")
	}
	return addrs, err
}

// TestNoPinNoAnswer holds that a session learns no address that it could not connect to.
func TestNoPinNoAnswer(t *testing.T) {
	server := (&upstream{answer: map[string][]string{"a.example": {"8.8.8.8"}}}).serve(t)
	r := resolver(t, names.Config{Policy: policy(t, egress.AllowList, "a.example"), Upstream: []netip.AddrPort{server}, Pin: func(context.Context, []netip.Addr, time.Duration) error {
		return errors.New("the warden does not answer")
	}})
	if got, err := query(t, r, "a.example"); err == nil {
		t.Error(got)
	}
}

// TestTheNextServer holds that a server that is silent or lies about its question does not stop a look-up.
func TestTheNextServer(t *testing.T) {
	_, silent := listen(t)
	server := (&upstream{answer: map[string][]string{"a.example": {"8.8.8.8"}}}).serve(t)
	r := resolver(t, names.Config{Timeout: 200 * time.Millisecond, Upstream: []netip.AddrPort{netip.MustParseAddrPort(silent.LocalAddr().String()), server}})
	if got, err := query(t, r, "a.example"); err != nil || !slices.Equal(got, []string{"8.8.8.8"}) {
		t.Error(got, err)
	}
}

func FuzzQueries(f *testing.F) {
	m := dnsmessage.Message{Questions: []dnsmessage.Question{{Name: dnsmessage.MustNewName("a.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}}}
	b, _ := m.Pack()
	f.Add(b)
	f.Add([]byte{})
	f.Fuzz(func(t *testing.T, query []byte) {
		here, there := net.Pipe()
		s := names.NewServer(names.Config{})
		l := &once{conn: there}
		done := make(chan struct{})
		go func() { defer close(done); s.Serve(l) }()
		if len(query) > 1<<10 {
			query = query[:1<<10]
		}
		here.SetDeadline(time.Now().Add(time.Second))
		here.Write(append([]byte{byte(len(query) >> 8), byte(len(query))}, query...))
		here.Close()
		<-done
		s.Close()
	})
}

// once is a listener with one connection.
type once struct{ conn net.Conn }

func (o *once) Accept() (net.Conn, error) {
	if conn := o.conn; conn != nil {
		o.conn = nil
		return conn, nil
	}
	return nil, net.ErrClosed
}
func (o *once) Close() error   { return nil }
func (o *once) Addr() net.Addr { return nil }
