package hosttest

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-go/berth/fake"
)

// shell does what runScript does in a real container, with an agent that works for twenty minutes of virtual time, for which the test does
// not wait. TestRunsOnDocker has the script itself.
func shell() func(context.Context, fake.Command) int {
	return func(ctx context.Context, c fake.Command) int {
		if c.Args[2] != runScript {
			return 127
		}
		fmt.Fprintln(c.Stdout, "thinking")
		select {
		case <-time.After(20 * time.Minute):
		case <-ctx.Done():
			return -9
		}
		if c.Env["PROMPT"] == "" {
			fmt.Fprintln(c.Stdout, "what shall I do?")
			return 2
		}
		fmt.Fprintf(c.Stdout, "done: %s\n", c.Env["PROMPT"])
		return 0
	}
}
