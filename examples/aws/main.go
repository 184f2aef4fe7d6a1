// Command aws runs tasks on instances of EC2: one per repository, each with one command, and then ends everything.
//
// With -dry-run it starts nothing: it prints what would be launched, and what would keep that from succeeding. Instances
// cost money while they run. The program ends its own when it ends, also when it is interrupted; those of one that was
// killed end themselves after six hours. A later run with the same -name tells of them, and how to end them sooner.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
)

func main() {
	ctx, cancel := context.WithCancel(context.Background())
	defer cancel()
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
	r := &runner{}
	go func() {
		<-signals
		fmt.Fprintln(os.Stderr, "\nInterrupted: ending what this run has launched. Interrupt again to leave it")
		cancel()
		<-signals
		fmt.Fprintln(os.Stderr, r.byHand())
		os.Exit(130)
	}()
	err := r.run(ctx, os.Args[1:], os.Stdout)
	switch {
	case errors.Is(err, flag.ErrHelp): // which was asked for
	case err != nil:
		fmt.Fprintln(os.Stderr, "aws:", err)
		os.Exit(1)
	}
}

// run is the program, without its signals.
func run(ctx context.Context, args []string, out io.Writer) error {
	return new(runner).run(ctx, args, out)
}
