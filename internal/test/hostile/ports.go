//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"time"

	"golang.org/x/sys/unix"
)

// takePorts takes all local ports of a transport, in one of some ways, and those that become free again, until it is killed.
func takePorts(args []string) error {
	transport, way := args[0], args[1]
	kind := unix.SOCK_STREAM
	if transport == "udp" {
		kind = unix.SOCK_DGRAM
	}
	var first, last int
	text, err := os.ReadFile("/proc/sys/net/ipv4/ip_local_port_range")
	if err != nil {
		return err
	}
	fmt.Sscan(string(text), &first, &last)
	const each = 2000 // for each of several processes
	if len(args) > 2 {
		fmt.Sscan(args[2], &first)
		last = min(last, first+each-1)
	} else if way == "spread" {
		for ; first <= last; first += each {
			if err := exec.Command(os.Args[0], "ports", transport, "hold", fmt.Sprint(first)).Start(); err != nil {
				return err
			}
		}
		hold()
	}
	if way == "leave" {
		return leavePorts(first, last)
	}
	var queue [2]int
	if way == "send" {
		if queue, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
			return err
		}
	}
	for {
		for port := first; port <= last; port++ {
			fd, err := bound(kind, port)
			if err != nil || way != "send" {
				continue
			}
			switch err := unix.Sendmsg(queue[0], []byte("x"), unix.UnixRights(fd), nil, unix.MSG_DONTWAIT); err {
			case nil:
				unix.Close(fd)
			case unix.EAGAIN: // the queue is full
				if queue, err = unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM, 0); err != nil {
					return err
				}
			}
		}
		time.Sleep(200 * time.Millisecond)
	}
}

// bound returns a socket with a port.
func bound(kind, port int) (int, error) {
	fd, err := unix.Socket(unix.AF_INET, kind|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return -1, err
	}
	if err := unix.Bind(fd, &unix.SockaddrInet4{Port: port}); err != nil {
		unix.Close(fd)
		return -1, err
	}
	return fd, nil
}

// leavePorts leaves connections behind that no process has any more and that keep their ports for a minute.
func leavePorts(first, last int) error {
	l, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return err
	}
	to := &unix.SockaddrInet4{Addr: [4]byte{127, 0, 0, 1}, Port: l.Addr().(*net.TCPAddr).Port}
	n := 0
	for port := first; port <= last; port++ {
		fd, err := bound(unix.SOCK_STREAM, port)
		if err != nil {
			continue
		}
		if err := unix.Connect(fd, to); err == nil {
			if other, err := l.Accept(); err == nil {
				unix.Close(fd)
				other.Close()
				n++
				continue
			}
		}
		unix.Close(fd)
	}
	fmt.Println("left", n)
	return nil
}

// holdSockets holds so many sockets with ports until its input ends.
func holdSockets(args []string) error {
	n := 0
	fmt.Sscan(args[0], &n)
	for range n {
		if _, err := bound(unix.SOCK_STREAM, 0); err != nil {
			return err
		}
	}
	fmt.Println("all")
	hold()
	return nil
}

// connect listens and connects with each transport, several times. Ports that were just freed may take a moment.
func connect() error {
	end := time.Now().Add(5 * time.Second)
	for n := 0; n < 20; n++ {
		for {
			err := connectOnce()
			if err == nil {
				break
			}
			if time.Now().After(end) {
				harm("it cannot connect: %v", err)
				return err
			}
			time.Sleep(20 * time.Millisecond)
		}
	}
	return nil
}

func connectOnce() error {
	l, err := net.Listen("tcp", ":0")
	if err != nil {
		return err
	}
	defer l.Close()
	conn, err := net.Dial("tcp", fmt.Sprint("127.0.0.1:", l.Addr().(*net.TCPAddr).Port))
	if err != nil {
		return err
	}
	defer conn.Close()
	p, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		return err
	}
	defer p.Close()
	q, err := net.Dial("udp", p.LocalAddr().String())
	if err != nil {
		return err
	}
	return q.Close()
}
