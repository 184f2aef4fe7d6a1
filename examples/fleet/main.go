// Command fleet shows a pool that grows and shrinks: three EC2 instances, each with a Docker engine of its own, that are
// reached over mutual TLS. It needs no account at AWS, but root on a Linux machine: EC2 is a server in this process that
// speaks EC2's protocol, and an instance is a set of namespaces in which the real Docker is started by what the
// instance's user data says.
//
// It leaves nothing behind, also when it is interrupted.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"
)

func main() {
	// Any of these ends the story early, and what it made is still removed. SIGPIPE: the reader of a pipe has left.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	err := run(ctx, newPrinter(os.Stdout), "fleet-"+strings.ToLower(rand.Text()[:8]))
	if ctx.Err() != nil {
		fmt.Fprintln(os.Stderr, "fleet: interrupted")
	}
	if err != nil && !errors.Is(err, context.Canceled) {
		fmt.Fprintln(os.Stderr, "fleet:", err)
	}
	switch {
	case ctx.Err() != nil:
		os.Exit(130)
	case err != nil:
		os.Exit(1)
	}
}

// run opens a fleet, tells its story and removes all of it.
func run(ctx context.Context, out *printer, pool string) error {
	f, err := newFleet(ctx, out, pool, nil)
	if err != nil {
		return err
	}
	err = tell(ctx, f)
	return errors.Join(err, f.close())
}
