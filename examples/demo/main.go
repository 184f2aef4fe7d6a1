// Command demo shows what berth does, on this machine's Docker engine. Three tasks of two users on two repositories share two
// containers. Each task has a checkout and a uid of its own. A container ends with its last task.
//
// The program makes what it needs, and serves two small repositories itself. With -repo URL, any number of times, it takes
// yours. It leaves nothing behind, also when it is interrupted. If no Docker engine answers, it tells the same story on fakes.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/berth-go/berth/examples/internal/narrate"
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
		if _, err := naming.ParseRemote(url); err != nil { // package flag would print the URL, with its credential
			usage(err)
		}
	}
	if flag.NArg() > 0 {
		usage(errors.New("it takes no arguments beside its flags"))
	}
	narrate.Main("demo", func(ctx context.Context) error {
		pool := "demo-" + strings.ToLower(rand.Text()[:8]) // two runs may share an engine
		return run(ctx, newPrinter(os.Stdout, isTerminal(os.Stdout)), pool, repos)
	})
}

func usage(err error) {
	fmt.Fprintln(os.Stderr, "demo:", err)
	flag.Usage()
	os.Exit(2)
}

// run tells the story on this machine's engine, or on fakes if none answers.
func run(ctx context.Context, out *printer, pool string, repos []string) error {
	st, err := newStage(ctx, out, pool, repos)
	if ctx.Err() != nil && st == nil {
		return narrate.ErrInterrupted
	}
	if err != nil {
		return err
	}
	return play(ctx, out, st)
}

// play tells the story, and then removes everything that the story made.
func play(ctx context.Context, out *printer, st *stage) error {
	err := tell(ctx, out, st)
	if ctx.Err() != nil {
		err = narrate.ErrInterrupted
		out.printf("\nInterrupted: removing what was made\n")
	}
	return errors.Join(err, st.clear(out))
}
