package wall

import (
	"io"
	"net"
	"net/netip"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/egress"
)

// installs runs a benchmark with walls that bound nothing, and with those that do.
func installs(b *testing.B, n *network, run func(b *testing.B)) {
	c := Config{Policy: egress.Policy{Mode: egress.Open}, Free: []int{rootUID}, Resolver: netip.AddrFrom4([4]byte{127, 0, 0, 11})}
	full := bound{overRate(1_000_000, connections), overCount(connections)}
	for _, w := range []struct {
		name string
		bound
		held int
	}{{"unbounded", bound{}, 0}, {"bounded", full, 0}, {"held", full, connections - 100}} {
		b.Run(w.name, func(b *testing.B) {
			n.in(n.container, func() error {
				_, err := c.install([]bound{w.bound})
				return err
			})
			n.flood(session, "", "8.8.8.8", 10_000, w.held)
			before := processor(b)
			run(b)
			b.ReportMetric(float64(processor(b)-before)/float64(b.N), "cpu-ns/op") // other programs disturb it less
		})
	}
}

// processor returns the time of the processors that this process has had.
func processor(b *testing.B) time.Duration {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// BenchmarkConnect connects, reads a byte and closes. In the end the session has nearly all the connections that it may have.
func BenchmarkConnect(b *testing.B) {
	n := newNetwork(b)
	n.setting("nf_conntrack_udp_timeout", "600")
	installs(b, n, func(b *testing.B) {
		err := n.as(session, func() error {
			for b.Loop() {
				conn, err := net.Dial("tcp", "8.8.8.8:80")
				if err != nil {
					return err
				}
				conn.Read(make([]byte, 1))
				conn.(*net.TCPConn).SetLinger(0) // keep the ports
				conn.Close()
			}
			return nil
		})
		if err != nil {
			b.Fatal(err)
		}
	})
}

// BenchmarkStream sends by one connection.
func BenchmarkStream(b *testing.B) {
	n := newNetwork(b)
	n.in(n.away, func() error {
		l, err := net.Listen("tcp", "8.8.8.8:81")
		if err != nil {
			return err
		}
		b.Cleanup(func() { l.Close() })
		go func() {
			for {
				conn, err := l.Accept()
				if err != nil {
					return
				}
				go io.Copy(io.Discard, conn)
			}
		}()
		return nil
	})
	installs(b, n, func(b *testing.B) {
		var conn net.Conn
		err := n.as(session, func() (err error) {
			conn, err = net.Dial("tcp", "8.8.8.8:81")
			return err
		})
		if err != nil {
			b.Fatal(err)
		}
		defer conn.Close()
		block := make([]byte, 64<<10)
		b.SetBytes(int64(len(block)))
		for b.Loop() {
			if _, err := conn.Write(block); err != nil {
				b.Fatal(err)
			}
		}
	})
}
