// Command quickstart is the README's example: two tasks on one repository, in one container.
package main

import (
	"context"
	"fmt"
	"log"
	"os"
	"os/signal"

	"github.com/berth-go/berth"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt) // Ctrl-C also kills the commands
	defer stop()
	if err := run(ctx, berth.Config{Name: "quickstart"}, "https://github.com/google/go-cmp"); err != nil {
		log.Fatal(err)
	}
}

func run(ctx context.Context, cfg berth.Config, repository string) error {
	p, err := berth.NewLocalProvider(ctx, cfg) // the Docker engine of this machine
	if err != nil {
		return err
	}
	defer p.Destroy(context.Background()) // removes the containers and all else, also after Ctrl-C

	for _, task := range []string{"fix-login", "add-tests"} {
		s, err := p.CreateSession(ctx, berth.SessionRequest{
			TaskID: task, UserID: "alice", Repository: repository,
		})
		if err != nil {
			return err
		}
		out, err := s.Command(ctx, "git", "log", "-1", "--oneline").Output() // as os/exec
		if err != nil {
			return err
		}
		fmt.Printf("%s: %s start in %s\n%s", task, s.Info().Start, s.Info().Container.Name, out)
	}
	return nil
}
