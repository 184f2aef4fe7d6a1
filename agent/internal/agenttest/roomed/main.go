// Roomed is the agent for tests of rooms that need no warden: it opens the rooms by itself. A container does not allow its agent
// that; the tests' agent runs as the machine's root.
//
//	roomed serve        is berth-agent serve
//	roomed enter JSON   is the first process of a room, and becomes berth-agent init
package main

import (
	"context"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/berth-go/berth/agent/internal/daemon"
	"github.com/berth-go/berth/agent/internal/proc"
)

func init() { proc.Main() }

func main() {
	var err error
	switch os.Args[1] {
	case "serve":
		err = serve(os.Args[2:])
	case "enter":
		err = enter(os.Args[2])
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "roomed:", err)
		os.Exit(1)
	}
}

func serve(args []string) error {
	o := daemon.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	o.AddFlags(flags)
	flags.StringVar(&o.Program, "program", "", "berth-agent")
	silent := flags.String("silent", "", "a file; while it is there, the opener answers like a warden that is gone")
	refuse := flags.Bool("refuse-checkouts", false, "the opener says that it mounts checkouts, and does not")
	policy := daemon.PolicyFlags(flags)
	flags.Parse(args)
	var err error
	if o.Egress, err = policy(); err != nil {
		return err
	}
	rooms := &opener{program: o.Program, silent: *silent}
	if o.Rooms = rooms; *refuse {
		o.Rooms = refuser{rooms}
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return daemon.Run(ctx, o)
}
