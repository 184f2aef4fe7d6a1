// Command machineimage makes the image that EC2 instances of tests and of examples/fleet boot, unless it is there, and
// prints its directory. Else the first test that needs it does.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/berth-go/berth/internal/test/hostboottest"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	err := hostboottest.ReadySystemd()
	dir := ""
	if err == nil {
		dir, err = hostboottest.Image(ctx, func(line string) { fmt.Println(line) })
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, "machineimage:", err)
		os.Exit(1)
	}
	fmt.Println(dir)
}
