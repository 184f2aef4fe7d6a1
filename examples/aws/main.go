// Command aws runs tasks on instances of EC2: one for each repository, with one command each. Then it ends everything.
//
// With -dry-run it launches nothing. It prints what it would launch, and what would keep that from succeeding. Instances
// cost money while they run. The program ends its instances when it ends, also when it is interrupted. If it is killed, they
// end themselves after six hours. A later run with the same -name lists them, and says how to end them sooner.
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
	case errors.Is(err, flag.ErrHelp): // -h is no failure
	case err != nil:
		fmt.Fprintln(os.Stderr, "aws:", err)
		os.Exit(1)
	}
}

// run is the program without its handling of signals.
func run(ctx context.Context, args []string, out io.Writer) error {
	return new(runner).run(ctx, args, out)
}
