// Command demo shows what berth does, on this machine's Docker engine: three tasks of two users on two repositories
// share two containers, each with a checkout and a uid of its own, and the containers go with their last task.
//
// It makes what is missing, serves two small repositories itself (or takes yours: -repo URL, any number of times), and
// leaves nothing behind, also when it is interrupted. Where no Docker engine answers, it tells the same story on fakes.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/berth-go/berth/naming"
)

func main() {
	var repos []string
	flag.Func("repo", "`URL` of a repository to use in place of the built-in ones; may be repeated", func(url string) error {
		repos = append(repos, url)
		return nil
	})
	flag.Parse()
	for _, url := range repos {
		if _, err := naming.ParseRemote(url); err != nil { // flag would show the URL, and a credential with it
			usage(err)
		}
	}
	if flag.NArg() > 0 {
		usage(errors.New("it takes no arguments beside its flags"))
	}
	// Any of these ends the story early, and what it made is still removed. SIGPIPE: the reader of a pipe has left.
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	pool := "demo-" + strings.ToLower(rand.Text()[:8]) // two runs may share an engine
	err := run(ctx, newPrinter(os.Stdout, isTerminal(os.Stdout)), pool, repos)
	if err != nil {
		fmt.Fprintln(os.Stderr, "demo:", err)
	}
	switch {
	case errors.Is(err, errInterrupted):
		os.Exit(130)
	case err != nil:
		os.Exit(1)
	}
}

func usage(err error) {
	fmt.Fprintln(os.Stderr, "demo:", err)
	flag.Usage()
	os.Exit(2)
}

var errInterrupted = errors.New("interrupted")

// run tells the story on this machine's engine, or else on fakes.
func run(ctx context.Context, out *printer, pool string, repos []string) error {
	st, err := newStage(ctx, out, pool, repos)
	if ctx.Err() != nil && st == nil {
		return errInterrupted
	}
	if err != nil {
		return err
	}
	return play(ctx, out, st)
}

// play tells the story, and then removes what it made.
func play(ctx context.Context, out *printer, st *stage) error {
	err := tell(ctx, out, st)
	if ctx.Err() != nil {
		err = errInterrupted
		out.printf("\nInterrupted: removing what was made\n")
	}
	return errors.Join(err, st.clear(out))
}
