package names_test

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"os"
	"slices"
	"testing"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/berth-go/berth/agent/internal/names"
)

// TestNoAskerKeepsOthersFromAsking holds that a session that has as many connections as it can get, and as many of which the kernel
// does not tell the owner, leaves room for the look-ups of others.
func TestNoAskerKeepsOthersFromAsking(t *testing.T) {
	hostile, unknown := netip.MustParseAddr("127.0.0.2"), netip.MustParseAddr("127.0.0.3")
	server := (&upstream{answer: map[string][]string{"a.example": {"8.8.8.8"}}}).serve(t)
	r := resolver(t, names.Config{
		Upstream: []netip.AddrPort{server},
		Owner: func(_ byte, peer, _ netip.AddrPort) (uint32, bool) {
			switch peer.Addr().Unmap() {
			case hostile:
				return 1, true
			case unknown:
				return 0, false
			}
			return 2, true
		},
	})
	probe, err := r.Dial(t.Context(), "udp", "")
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	for _, from := range []netip.Addr{hostile, unknown} {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(from, 0))}
		var last net.Conn
		for range 300 {
			if last, err = d.DialContext(t.Context(), "tcp", probe.RemoteAddr().String()); err != nil {
				t.Fatal(err)
			}
			defer last.Close()
		}
		last.SetReadDeadline(time.Now().Add(5 * time.Second)) // a connection that was taken is closed later
		if _, err := last.Read(make([]byte, 1)); errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("%v has any number of connections", from)
		}
	}
	if got, err := query(t, r, "a.example"); err != nil || !slices.Equal(got, []string{"8.8.8.8"}) {
		t.Errorf("another asker: %v, %v", got, err)
	}
}

// TestQueriesInTimeAreBounded: an asker that has used up its queries gets no more answers over either transport. Another one does, and
// one that is free.
func TestQueriesInTimeAreBounded(t *testing.T) {
	const burst = 20
	u := &upstream{answer: map[string][]string{"a.example": {"8.8.8.8"}}}
	owners := map[netip.Addr]uint32{netip.MustParseAddr("127.0.0.2"): 1, netip.MustParseAddr("127.0.0.3"): 2, netip.MustParseAddr("127.0.0.4"): 0}
	r := resolver(t, names.Config{
		Upstream: []netip.AddrPort{u.serve(t)}, PerSecond: 1e-6, Burst: burst,
		Free: func(uid uint32) bool { return uid == 0 },
		Owner: func(_ byte, peer, _ netip.AddrPort) (uint32, bool) {
			uid, known := owners[peer.Addr().Unmap()]
			return uid, known
		},
	})
	probe, err := r.Dial(t.Context(), "tcp", "")
	if err != nil {
		t.Fatal(err)
	}
	defer probe.Close()
	question := dnsmessage.Question{Name: dnsmessage.MustNewName("a.example."), Type: dnsmessage.TypeA, Class: dnsmessage.ClassINET}
	m := dnsmessage.Message{Header: dnsmessage.Header{ID: 7}, Questions: []dnsmessage.Question{question}}
	packed, err := m.Pack()
	if err != nil {
		t.Fatal(err)
	}
	// answered returns how many of some queries from an address are answered, until one is not.
	answered := func(from string, most int) (n int) {
		d := net.Dialer{LocalAddr: net.TCPAddrFromAddrPort(netip.AddrPortFrom(netip.MustParseAddr(from), 0))}
		conn, err := d.DialContext(t.Context(), "tcp", probe.RemoteAddr().String())
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		conn.SetDeadline(time.Now().Add(2 * time.Minute))
		for ; n < most; n++ {
			var size [2]byte
			if _, err := conn.Write(append([]byte{0, byte(len(packed))}, packed...)); err != nil {
				return n
			}
			if _, err := io.ReadFull(conn, size[:]); err != nil {
				return n
			}
			if _, err := io.CopyN(io.Discard, conn, int64(size[0])<<8|int64(size[1])); err != nil {
				return n
			}
		}
		return n
	}
	for _, c := range []struct {
		from       string
		most, want int
	}{{"127.0.0.2", 100, burst}, {"127.0.0.2", 100, 0}, {"127.0.0.3", 10, 10}, {"127.0.0.4", 3 * burst, 3 * burst}, {"127.0.0.5", 100, 2 * burst}} {
		if n := answered(c.from, c.most); n != c.want {
			t.Errorf("%s: %d queries of %d are answered, want %d", c.from, n, c.most, c.want)
		}
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if len(u.asked) != 6*burst+10 {
		t.Errorf("%d queries were passed on", len(u.asked))
	}
}
