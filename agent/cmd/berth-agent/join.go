package main

import (
	"flag"
	"io"
	"net"
	"os"
	"time"
)

// join copies stdin to the agent's socket and back, until either side ends.
func join(args []string) error {
	flags := flag.NewFlagSet("join", flag.ExitOnError)
	socket := flags.String("socket", defaultSocket, "of the agent")
	wait := flags.Duration("wait", 5*time.Second, "how long an agent that does not answer yet is waited for")
	flags.Parse(args)

	conn, err := dial(*socket, *wait)
	if err != nil {
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
