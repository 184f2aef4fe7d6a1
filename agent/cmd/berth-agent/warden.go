package main

import (
	"context"
	"flag"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/berth-go/berth/agent/internal/warden"
)

// runWarden opens rooms until it is told to end. Open rooms stay.
func runWarden(args []string) error {
	o := warden.Options{Log: slog.New(slog.NewTextHandler(os.Stderr, nil))}
	flags := flag.NewFlagSet("warden", flag.ExitOnError)
	flags.StringVar(&o.Socket, "socket", "/berth/warden/warden.sock", "where agents connect; rooms do not see its directory")
	flags.Parse(args)
	o.Hidden = []string{filepath.Dir(o.Socket)}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM, syscall.SIGINT)
	defer stop()
	return warden.New(o).Run(ctx)
}
