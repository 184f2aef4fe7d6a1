package main

import (
	"flag"
	"io"
	"net"
	"os"
	"time"

	"github.com/berth-go/berth/agent/internal/daemon"
	"github.com/berth-go/berth/agent/internal/proc"
)

// joinThreads is more than join uses at once. It would end with its connection if tasks had used up the container's
// processes when it needs another thread.
const joinThreads = 8

// join makes the agent read stdin and write stdout, and waits until it has closed them. If they are no pipes, or if the agent refuses
// them, join copies stdin to the agent's socket and back, until either side ends.
func join(args []string) error {
	flags := flag.NewFlagSet("join", flag.ExitOnError)
	socket := flags.String("socket", daemon.DefaultSocket, "of the agent")
	wait := flags.Duration("wait", 5*time.Second, "how long an agent that does not answer yet is waited for")
	flags.Parse(args)
	proc.Prewarm(joinThreads)

	conn, err := dial(*socket, *wait)
	if err != nil {
		return err
	}
	taken, err := daemon.HandOver(conn, os.Stdin, os.Stdout)
	if err != nil {
		return err
	}
	if taken {
		os.Stdin.Close() // or a program that writes to it would not learn that the agent has closed it
		os.Stdout.Close()
		_, err := io.Copy(io.Discard, conn)
		return err
	}
	go func() {
		io.Copy(conn, os.Stdin)
		conn.CloseWrite() // the agent ends the connection when it has answered
	}()
	_, err = io.Copy(os.Stdout, conn)
	return err
}

func dial(socket string, wait time.Duration) (*net.UnixConn, error) {
	for deadline := time.Now().Add(wait); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.DialUnix("unix", nil, &net.UnixAddr{Name: socket, Net: "unix"})
		if err == nil || time.Now().After(deadline) {
			return conn, err
		}
	}
}
