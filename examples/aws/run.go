package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth"
)

// cleanup bounds how long the end of everything takes. EC2 needs about a minute to end an instance. Destroy waits five minutes
// for a launch whose outcome is unknown.
const cleanup = 12 * time.Minute

// runner is one run of the program.
type runner struct {
	mu    sync.Mutex // protects the fields below
	pool  string     // "" while nothing was launched
	where string     // the command that lists the pool's instances
}

// run does what the arguments say, until ctx ends. It always ends what it has launched.
func (r *runner) run(ctx context.Context, args []string, out io.Writer) error {
	opts, err := parse(args, out)
	if err != nil {
		return err
	}
	cfg, err := opts.config(ctx)
	if err != nil {
		return err
	}
	if opts.dry {
		return dryRun(ctx, cfg, out)
	}
	begin := time.Now()
	var line sync.Mutex // keeps lines whole: events come from another goroutine
	say := func(format string, args ...any) {
		line.Lock()
		defer line.Unlock()
		fmt.Fprintf(out, "%7.1fs  %s\n", time.Since(begin).Seconds(), fmt.Sprintf(format, args...))
	}
	cfg.OnEvent = func(e berth.Event) { say("%s", text(e)) }
	cfg.Logger = slog.New(slog.NewTextHandler(os.Stderr, &slog.HandlerOptions{Level: slog.LevelWarn}))

	r.launches(cfg)
	p, err := berth.NewEC2SharedProvider(ctx, cfg)
	if err != nil && ctx.Err() != nil {
		return errors.New("interrupted: nothing was launched")
	}
	if err != nil {
		return byFlags(err)
	}
	err = work(ctx, p, opts, say)
	return errors.Join(err, end(p, describe(cfg.EC2.AWS, cfg.Name), say))
}

// launches notes what a second interrupt has to print.
func (r *runner) launches(cfg berth.Config) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.pool, r.where = cfg.Name, describe(cfg.EC2.AWS, cfg.Name)
}

// byHand prints what remains to be deleted by hand if the program exits now.
func (r *runner) byHand() string {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.pool == "" {
		return "Nothing was launched."
	}
	return "Left before the end. Terminate what carries the tag berth:pool = " + r.pool + "; this lists it:\n  " + r.where
}

// dryRun prints what would be launched. Its error lists what would keep that from succeeding.
func dryRun(ctx context.Context, cfg berth.Config, out io.Writer) error {
	plan, err := berth.CheckEC2(ctx, cfg)
	if len(plan.Ways) > 0 {
		fmt.Fprintf(out, "%s\n", plan)
	}
	if err != nil {
		return byFlags(err)
	}
	fmt.Fprintln(out, "Nothing is in the way. Nothing was launched.")
	return nil
}

// work runs the command on every repository, all at once.
func work(ctx context.Context, p *berth.Provider, opts options, say func(string, ...any)) error {
	errs := make([]error, len(opts.repos))
	var tasks sync.WaitGroup
	for i, url := range opts.repos {
		tasks.Go(func() {
			if errs[i] = task(ctx, p, fmt.Sprintf("task-%d", i+1), url, opts.command, say); errs[i] != nil {
				say("task-%d failed: %v", i+1, errs[i])
			}
		})
	}
	tasks.Wait()
	if ctx.Err() != nil {
		return errors.New("interrupted")
	}
	return errors.Join(errs...)
}

// task runs the command in a session of its own, and ends it.
func task(ctx context.Context, p *berth.Provider, id, url string, command []string, say func(string, ...any)) error {
	s, err := p.CreateSession(ctx, berth.SessionRequest{TaskID: id, UserID: "example", Repository: url})
	if err != nil {
		return err
	}
	out, err := s.Command(ctx, command[0], command[1:]...).CombinedOutput()
	for line := range strings.Lines(string(out)) {
		say("%s | %s", id, strings.TrimRight(line, "\r\n"))
	}
	return errors.Join(err, p.TerminateSession(context.WithoutCancel(ctx), s.ID()))
}

// end ends everything that the pool has, and says what it could not end.
func end(p *berth.Provider, where string, say func(string, ...any)) error {
	ctx, cancel := context.WithTimeout(context.Background(), cleanup)
	defer cancel()
	say("ending the pool")
	others := p.Stats().Pool.Foreign
	err := p.Destroy(ctx)
	if others > 0 {
		say("%d instances of another run with this -name are left alone. They end themselves six hours after that has ended; to end "+
			"them now, terminate what this lists:\n  %s", others, where)
	}
	if err == nil {
		say("0 instances of this run are left")
		return nil
	}
	left := 0
	for in, err := range p.Instances(context.Background()) {
		if err != nil {
			break
		}
		left++
		say("left: %s (%s)", in.CloudID, in.State)
	}
	say("%d instances of this run are left; this lists them:\n  %s", left, where)
	return errors.Join(err, p.Close())
}

// text describes an event in a line.
func text(e berth.Event) string {
	parts := []string{string(e.Type)}
	for _, s := range []string{e.TaskID, e.Container, e.Instance, string(e.Start), e.Message} {
		if s != "" {
			parts = append(parts, s)
		}
	}
	if e.Err != nil {
		parts = append(parts, e.Err.Error())
	}
	return strings.Join(parts, "  ")
}
