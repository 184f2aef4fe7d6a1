// Package narrate is for examples that tell a story. It runs such a program, and prints its lines.
package narrate

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"syscall"
)

// ErrInterrupted says that a story was interrupted.
var ErrInterrupted = errors.New("interrupted")

// Main calls tell, and ends the program if tell fails. A signal ends the context early. tell then removes everything that it
// made, and its error is ErrInterrupted. name is the program's name in errors.
func Main(name string, tell func(context.Context) error) {
	// SIGPIPE means that the reader of a pipe has left.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	err := tell(ctx)
	if err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", name, err)
	}
	switch {
	case errors.Is(err, ErrInterrupted):
		os.Exit(130)
	case err != nil:
		os.Exit(1)
	}
}
