//go:build linux

package main

import (
	"fmt"
	"net"
	"os"
	"strings"

	"golang.org/x/sys/unix"
)

// dial tries to connect to each socket, which must not be possible.
func dial(args []string) error {
	for _, name := range args {
		network := "tcp"
		if !strings.Contains(name, ":") {
			network = "unix"
		}
		for _, network := range []string{network, "unixpacket"} {
			if conn, err := net.Dial(network, name); err == nil {
				conn.Close()
				harm("it connects to %s", name)
			}
		}
	}
	return nil
}

// answer listens on a socket until standard input ends.
func answer(args []string) error {
	l, err := net.Listen(args[0], args[1])
	if err != nil {
		return err
	}
	fmt.Println("ready", l.Addr())
	go func() {
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			conn.Close()
		}
	}()
	hold()
	return nil
}

// hand gives a descriptor of a directory to who connects to an abstract socket.
func hand(args []string) error {
	dir, err := unix.Open(args[1], unix.O_RDONLY|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: args[0], Net: "unix"})
	if err != nil {
		return err
	}
	fmt.Println("ready", args[0])
	go func() {
		for {
			conn, err := l.AcceptUnix()
			if err != nil {
				return
			}
			conn.WriteMsgUnix([]byte("x"), unix.UnixRights(dir), nil)
			conn.Close()
		}
	}()
	hold()
	return nil
}

// take takes the directory and leaves a file in it.
func take(args []string) error {
	conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: args[0], Net: "unix"})
	if err != nil {
		fmt.Println("refused:", err)
		return nil
	}
	data, control := make([]byte, 1), make([]byte, 64)
	_, n, _, _, err := conn.ReadMsgUnix(data, control)
	if err != nil {
		return err
	}
	messages, err := unix.ParseSocketControlMessage(control[:n])
	if err != nil || len(messages) != 1 {
		return fmt.Errorf("%d messages, %v", len(messages), err)
	}
	fds, err := unix.ParseUnixRights(&messages[0])
	if err != nil {
		return err
	}
	fd, err := unix.Openat(fds[0], "left-behind", unix.O_CREAT|unix.O_RDWR, 0o644)
	if err != nil {
		fmt.Println("refused:", err)
		return nil
	}
	os.NewFile(uintptr(fd), "left-behind").WriteString("x")
	harm("it leaves a file in an accomplice's directory")
	return nil
}
