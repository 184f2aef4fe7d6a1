//go:build linux

package main

import (
	"bufio"
	"fmt"
	"net"
	"net/netip"
	"time"

	"golang.org/x/sys/unix"
)

// flow sends datagrams to 100,000 targets at an address, each from another pair of ports, and prints how many were not refused. Then it
// goes on until standard input ends.
func flow(args []string) error {
	addr, err := netip.ParseAddr(args[0])
	if err != nil {
		return err
	}
	const sockets, first, ports = 2, 10_000, 50_000
	var fds [sockets]int
	for i := range fds {
		if fds[i], err = unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0); err != nil {
			return err
		}
	}
	send := func() (sent int, err error) {
		for port := first; port < first+ports; port++ {
			for _, fd := range fds {
				switch e := unix.Sendto(fd, []byte("x"), 0, &unix.SockaddrInet4{Port: port, Addr: addr.As4()}); e {
				case nil:
					sent++
				default:
					err = e
				}
			}
		}
		return sent, err
	}
	sent, err := send()
	fmt.Println("all", sent, "of", sockets*ports, "the last error:", err)
	go func() {
		for {
			send()
			time.Sleep(100 * time.Millisecond)
		}
	}()
	hold()
	return nil
}

// reach connects to a server several times, each time anew.
func reach(args []string) error {
	for range 20 {
		conn, err := net.DialTimeout("tcp", args[0], 5*time.Second)
		if err != nil {
			harm("it cannot connect: %v", err)
			return err
		}
		fmt.Fprint(conn, "GET / HTTP/1.0\r\n\r\n")
		if line, err := bufio.NewReader(conn).ReadString('\n'); err != nil {
			harm("it gets no answer: %q, %v", line, err)
		}
		conn.Close()
	}
	return nil
}
