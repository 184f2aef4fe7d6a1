package main

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/examples/internal/scene"
)

const (
	listTimeout  = 5 * time.Second // for a list of what is left
	clearTimeout = time.Minute     // for removing everything at the end
)

// A stage is where the story plays: this machine's engine, or fakes.
type stage struct {
	pool      string
	provider  *berth.Provider
	repos     []string
	simulated bool // times are simulated
	// things lists what the engine has of the pool: its containers and, with everything, also its volumes and networks.
	// asked is the command that lists the containers.
	things func(ctx context.Context, everything bool) ([]string, error)
	asked  string
	close  func() // called after the Provider has ended
}

// newStage prepares the engine of this machine, or fakes if none answers.
func newStage(ctx context.Context, out *printer, pool string, repos []string) (*stage, error) {
	docker, err := scene.Connect(ctx)
	switch {
	case err == nil:
		return newEngineStage(ctx, out, docker, pool, repos)
	case ctx.Err() != nil:
		return nil, err
	}
	out.printf("No Docker engine answers (%s), so the story runs on fakes, and its times are simulated.\n", oneLine(err))
	return newFakeStage(out, pool, repos)
}

// config has the settings that both kinds of stage share.
func config(out *printer, pool string) berth.Config {
	return berth.Config{Name: pool, OnEvent: func(e berth.Event) {
		if e.Type == berth.EventProgress {
			out.progress(e.Repository.Path + ": " + e.Message)
		}
	}}
}

// clear removes everything that the story made, also after an interruption, and checks that it is gone.
func (s *stage) clear(out *printer) error {
	defer s.close()
	ctx, cancel := context.WithTimeout(context.Background(), clearTimeout)
	defer cancel()
	err := s.provider.Destroy(ctx)
	ctx, cancel = context.WithTimeout(context.Background(), listTimeout)
	defer cancel()
	left, listErr := s.things(ctx, true)
	if err = errors.Join(err, listErr); err == nil && len(left) == 0 {
		out.printf("The pool is destroyed: the engine has no container, volume or network of %s.\n", s.pool)
		return nil
	}
	for _, thing := range left {
		err = errors.Join(err, fmt.Errorf("%s is left", thing))
	}
	return fmt.Errorf("removing pool %s: %w", s.pool, err)
}

// oneLine makes one line of an error's text.
func oneLine(err error) string {
	return strings.TrimSuffix(strings.Join(strings.Fields(err.Error()), " "), ".")
}
