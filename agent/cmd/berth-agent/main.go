// Berth-agent is the first process of berth's containers.
//
//	berth-agent serve   is the agent itself
//	berth-agent join    connects its stdin and stdout to the agent of the container that it runs in
//	berth-agent guard   is started by serve, and helps it when it starts commands
//	berth-agent version prints the protocol that it speaks
//
// Called by git, with BERTH_ASKPASS in its environment, it answers git's question for a credential.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/daemon"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
)

func init() { proc.Main() }

func main() {
	if os.Getenv(git.EnvAskpass) != "" && len(os.Args) == 2 {
		answer, ok := git.Answer(os.Args[1], os.Getenv)
		if !ok {
			os.Exit(1)
		}
		fmt.Println(answer)
		return
	}
	command := ""
	if len(os.Args) > 1 {
		command = os.Args[1]
	}
	var err error
	switch command {
	case "serve":
		err = serve(os.Args[2:])
	case "join":
		err = join(os.Args[2:])
	case "guard":
		proc.GuardForks(os.Stdin)
	case "version":
		fmt.Printf("berth-agent, protocol %d\n", wire.Protocol)
	default:
		err = errors.New("usage: berth-agent serve | join | version")
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "berth-agent:", err)
		os.Exit(1)
	}
}

const defaultSocket = "/berth/run/agent.sock"

func serve(args []string) error {
	o := daemon.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flags := flag.NewFlagSet("serve", flag.ExitOnError)
	flags.StringVar(&o.Socket, "socket", defaultSocket, "where clients connect")
	flags.StringVar(&o.MirrorDir, "mirror", "/berth/mirror", "where the mirror of the repository is kept")
	flags.StringVar(&o.SessionsDir, "sessions", "/sessions", "where the checkouts are made; what is there is removed")
	flags.StringVar(&o.EtcDir, "etc", "/etc", "where passwd and group are")
	flags.IntVar(&o.MaxProcesses, "max-processes", 1024, "of one session")
	flags.IntVar(&o.MaxFiles, "max-files", 65536, "that one process of a session has open, unless the hard limit is lower")
	flags.DurationVar(&o.OrphanTimeout, "orphan-timeout", 6*time.Hour, "end when no manager was connected for so long; 0 = never")
	flags.Func("shared", "a directory to clean after a session, instead of those found; may be repeated", func(dir string) error {
		o.Shared = append(o.Shared, dir)
		return nil
	})
	flags.Parse(args)
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return daemon.Run(ctx, o)
}
