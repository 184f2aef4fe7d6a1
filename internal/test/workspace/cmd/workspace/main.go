// Command workspace makes the workspace image on the engine of DOCKER_HOST, or of the default socket.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/test/workspace"
)

func main() {
	again := flag.Bool("again", false, "make the image also when the engine has it")
	offline := flag.Bool("packages", false, "make it from Debian packages without asking a registry")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *again, *offline); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func run(ctx context.Context, again, offline bool) error {
	docker, err := client.New(client.FromEnv)
	if err != nil {
		return err
	}
	defer docker.Close()
	ensure := workspace.Ensure
	switch {
	case offline:
		ensure = workspace.Build
	case again:
		ensure = workspace.Make
	}
	begin := time.Now()
	image, err := ensure(ctx, docker, func(line string) {
		fmt.Printf("%6.1fs  %s\n", time.Since(begin).Seconds(), line)
	})
	if err != nil {
		return err
	}
	fmt.Printf("%6.1fs  image %s is ready\n", time.Since(begin).Seconds(), image)
	return nil
}
