package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"os"
	"time"

	"github.com/berth-go/berth/agent/internal/warden"
)

// isolation prints what the rooms of this machine do, as agent.ReadIsolation reads it. It runs in the warden's container, tries
// a room itself, and fails if the warden does not listen.
func isolation(args []string) error {
	flags := flag.NewFlagSet("isolation", flag.ExitOnError)
	socket := flags.String("socket", "/berth/warden/warden.sock", "where agents connect to the warden")
	wait := flags.Duration("wait", 5*time.Second, "how long the warden may take until it listens")
	flags.Parse(args)
	for end := time.Now().Add(*wait); ; time.Sleep(10 * time.Millisecond) {
		conn, err := net.Dial("unixpacket", *socket)
		if err == nil {
			conn.Close()
			break
		}
		if time.Now().After(end) {
			return fmt.Errorf("the warden does not listen: %w", err)
		}
	}
	o := warden.Options{Socket: *socket, Log: slog.New(slog.DiscardHandler)}
	return json.NewEncoder(os.Stdout).Encode(warden.New(o).Isolation())
}
