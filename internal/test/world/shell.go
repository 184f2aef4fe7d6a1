package world

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
)

// RunShell is Run with a session, in which the commands of Shell can be run.
func RunShell(t *testing.T, test func(t *testing.T, w *World, s *berth.Session)) {
	t.Helper()
	engine := fake.EngineOptions{Run: Shell, Commands: []string{"cat", "say", "fail", "signal", "where", "sleep", "true", "yes", "drip", "trap", "serve", "window"}}
	Run(t, Setup{Engine: engine}, func(t *testing.T, w *World) { test(t, w, w.Create("t", RepoA)) })
}

// Shell implements some commands, for fake.EngineOptions.Run. Commands that it does not know succeed and print nothing.
func Shell(ctx context.Context, c fake.Command) int {
	switch c.Args[0] {
	case "cat":
		if _, err := io.Copy(c.Stdout, c.Stdin); err != nil {
			return 1
		}
	case "say": // the first argument to stdout, the second to stderr
		fmt.Fprint(c.Stdout, c.Args[1])
		fmt.Fprint(c.Stderr, c.Args[2])
	case "fail":
		fmt.Fprint(c.Stderr, strings.Repeat("x", 40<<10)+"the end")
		return 3
	case "signal":
		return -15
	case "where":
		fmt.Fprint(c.Stdout, c.Dir, " ", c.Env["A"])
	case "sleep":
		<-ctx.Done()
	case "yes":
		for {
			if _, err := io.WriteString(c.Stdout, "y\n"); err != nil {
				return 1
			}
		}
	case "drip":
		return drip(c)
	case "ask":
		return ask(ctx, c)
	case "trap": // exits with the number of the first signal
		select {
		case sig := <-c.Signals():
			n, _ := sig.(syscall.Signal)
			return int(n)
		case <-ctx.Done():
		}
	case "serve": // HTTP on port 80: the path comes back
		l, err := c.Listen(80)
		if err != nil {
			return 1
		}
		http.Serve(l, http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { io.WriteString(w, r.URL.Path) }))
	case "window": // the sizes of its terminal
		for {
			size, changed := c.Terminal.Size()
			fmt.Fprintf(c.Stdout, "%dx%d\n", size.Cols, size.Rows)
			select {
			case <-changed:
			case <-ctx.Done():
				return 0
			}
		}
	}
	return 0
}

// ask prints the credential for a URL, as "git credential fill" does. Further arguments are push and rejected.
func ask(ctx context.Context, c fake.Command) int {
	a, err := c.Credential(ctx, agent.Question{
		URL: c.Args[1], Push: slices.Contains(c.Args, "push"), Rejected: slices.Contains(c.Args, "rejected"),
	})
	switch {
	case err != nil:
		fmt.Fprint(c.Stdout, err)
		return 2
	case a.Refusal != "":
		fmt.Fprint(c.Stdout, a.Refusal)
		return 1
	}
	fmt.Fprint(c.Stdout, a.Username, ":", a.Password)
	return 0
}

// Dripped is what the command drip writes to stderr, in chunks of a given size.
var Dripped = strings.Repeat("0123456789abcde", 12<<10)

func drip(c fake.Command) int {
	var chunk int
	fmt.Sscan(c.Args[1], &chunk)
	for rest := Dripped; rest != ""; {
		n := min(chunk, len(rest))
		io.WriteString(c.Stderr, rest[:n])
		rest = rest[n:]
	}
	return 1
}
