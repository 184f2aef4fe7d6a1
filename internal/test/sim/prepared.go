package sim

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// preparing is how the host of a plan prepares workspaces.
type preparing struct {
	on    bool
	fails bool // now and then
	wait  time.Duration
}

// drawPrepare decides whether workspaces are prepared.
func (p *plan) drawPrepare() {
	d := p.dice
	p.prepare = preparing{on: d.chance(0.4, "prepares"), fails: d.chance(0.3, "preparations fail")}
	if d.chance(0.4, "waits for workspaces") {
		p.prepare.wait = d.upTo(20*time.Second, "waits for workspaces so long")
	}
}

const (
	prepareCommand = "prepare"
	mark           = "mark" // the file that a preparation writes
)

// prepareFor is a Config.PrepareFor.
func (h host) prepareFor(r naming.Repository) orchestrator.Prepare {
	if h.fails("prepare", r.Path) == panics {
		panic(errDisorder)
	}
	return orchestrator.Prepare{
		Run: [][]string{{prepareCommand, "5s"}}, Dirs: []string{"kept"}, Timeout: 30 * time.Second, Wait: h.plan.prepare.wait,
	}
}

// run does the work of commands, and checks what they begin with.
func (w *world) run(ctx context.Context, c fake.Command) int {
	if c.Args[0] == prepareCommand {
		return w.preparation(ctx, c)
	}
	if !w.plan.prepare.on && !w.plan.keeps {
		return work(ctx, c)
	}
	switch got, err := c.Files.Read(mark); {
	case err != nil:
	case bytes.Equal(got, []byte(c.Container)):
		w.trace.saw("a session began with a prepared workspace")
	case !w.rules.kept.allows(c.Session, c.Container, string(got)):
		w.rules.broken("session %s in %s begins with what is of %s", c.Session, c.Container, got)
	}
	c.Files.Write(mark, []byte(c.Session)) // which no other session may see
	return work(ctx, c)
}

// preparation is the command that prepares a workspace.
func (w *world) preparation(ctx context.Context, c fake.Command) int {
	if c.UID >= 10_000 || c.Env["TOKEN"] != "" || c.Env["TOKEN_OF_ALL"] != secret {
		w.rules.broken("a workspace is prepared by uid %d with the environment %v", c.UID, c.Env)
	}
	if names := c.Files.Names(); len(names) > 0 {
		w.rules.broken("a workspace is prepared on files that others have left: %v", names)
	}
	d, err := time.ParseDuration(c.Args[1])
	if err != nil {
		return 2
	}
	pause(ctx, d)
	n, quiet := w.meddler.count("preparation " + c.Container)
	if w.plan.prepare.fails && !quiet && w.plan.dice.chance(0.3, "preparation", c.Container, fmt.Sprint(n)) {
		w.trace.saw("a preparation failed")
		return 1
	}
	c.Files.Write(mark, []byte(c.Container))
	c.Files.Write(c.Env["HOME"]+"/kept/"+mark, []byte(c.Container))
	return 0
}

var errUnprepared = errors.New("a session does not begin with the workspace that was prepared in its container")

// prepares checks, when everything is healed, that a workspace is prepared for the second session on a repository.
func (w *world) prepares() {
	if p := w.plan; !p.prepare.on || p.prepare.fails || p.config.MaxTasksPerInstance < 2 || p.armed[roomless] || p.armed[unruly] {
		return
	}
	try := 0
	err := w.surely("prepares", 5*time.Minute, func(ctx context.Context, r *replica) error {
		try++
		return w.prepared(ctx, r, fmt.Sprint("after-prepared-", try, "-"))
	})
	if err != nil {
		w.rules.broken("repository 0: %v", err)
	}
}

func (w *world) prepared(ctx context.Context, r *replica, task string) error {
	var before *berth.Session
	for i := range 2 {
		s, err := r.CreateSession(ctx, berth.SessionRequest{
			TaskID: fmt.Sprint(task, i), UserID: unlimited, Repository: w.plan.admitted(0, "prepared"),
		})
		if err != nil {
			return err
		}
		if before == nil {
			before = s
			time.Sleep(time.Minute)
			continue
		}
		there, err := s.FS(ctx).Stat(mark)
		if before.Info().Container.ID == s.Info().Container.ID && (err != nil || there.Size() == 0) {
			return fmt.Errorf("%w: %v", errUnprepared, err)
		}
		if err := r.TerminateSession(ctx, s.ID()); err != nil {
			return err
		}
	}
	return r.TerminateSession(ctx, before.ID())
}
