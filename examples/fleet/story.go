package main

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth"
)

// A task is the work of a user on a repository.
type task struct {
	name, user string
	repo       int // its index in fleet.repos
	session    *berth.Session
}

func newTasks() []*task {
	return []*task{
		{name: "fix-login", user: "alice", repo: 0},
		{name: "add-tests", user: "bob", repo: 0},
		{name: "write-invoices", user: "alice", repo: 1},
		{name: "round-cents", user: "alice", repo: 1},
		{name: "mend-typos", user: "alice", repo: 2},
	}
}

// tell tells the story.
func tell(ctx context.Context, f *fleet) error {
	tasks := newTasks()
	for _, step := range []func(context.Context, []*task) error{f.grow, f.work, f.shrink} {
		if err := step(ctx, tasks); err != nil {
			return err
		}
	}
	f.out.Heading("The pool is destroyed, and its last instance with it.")
	return nil
}

// grow starts tasks until the pool has as many instances as it may.
func (f *fleet) grow(ctx context.Context, tasks []*task) error {
	f.out.Heading("The pool keeps one instance, and may have three of two slots each.")
	if err := f.settle(ctx, 1); err != nil {
		return err
	}
	f.out.Heading("Two tasks on one repository share a container. With three more on two others, two instances are missing.")
	if err := f.start(ctx, tasks); err != nil {
		return err
	}
	return f.settle(ctx, maxInstances)
}

// start creates the sessions of tasks. It creates them one after another while there is room, and the others side by side.
func (f *fleet) start(ctx context.Context, tasks []*task) error {
	var wg sync.WaitGroup
	errs := make(chan error, len(tasks))
	create := func(t *task) {
		var err error
		t.session, err = f.CreateSession(ctx, berth.SessionRequest{TaskID: t.name, UserID: t.user, Repository: f.repos[t.repo]})
		if err != nil {
			errs <- err
		}
	}
	for _, t := range tasks {
		if t.repo == 0 {
			create(t)
			continue
		}
		wg.Go(func() { create(t) })
		select { // they wait in this order
		case <-ctx.Done():
		case <-time.After(100 * time.Millisecond):
		}
	}
	wg.Wait()
	select {
	case err := <-errs:
		return err
	default:
		return nil
	}
}

// settle waits until the pool and the cloud have that many instances, and all of them are ready.
func (f *fleet) settle(ctx context.Context, want int) error {
	ctx, cancel := context.WithTimeoutCause(ctx, settleTimeout, fmt.Errorf("within %s there are not %d instances", settleTimeout, want))
	defer cancel()
	for {
		if err := f.trouble(); err != nil {
			return err
		}
		ready, all := 0, 0
		for in, err := range f.Instances(ctx) {
			if err != nil {
				return err
			}
			all++
			if in.State == "ready" {
				ready++
			}
		}
		if up := len(f.up()); ready == want && all == want && up == want {
			f.out.Say("%d of %d instances are there", want, maxInstances)
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// work runs a command in each session.
func (f *fleet) work(ctx context.Context, tasks []*task) error {
	rows := [][]string{{"TASK", "USER", "START", "INSTANCE", "ENGINE", "CONTAINER", "UID", "LAST COMMIT"}}
	for _, t := range tasks {
		out, err := t.session.Command(ctx, "sh", "-c", "hostname; id -u; git log -1 --format=%s").Output()
		if err != nil {
			return fmt.Errorf("%s: %w", t.name, err)
		}
		info := t.session.Info()
		said := strings.Split(strings.TrimSpace(string(out)), "\n")
		rows = append(rows, append([]string{t.name, t.user, string(info.Start), info.Instance.CloudID, info.Instance.Address}, said...))
	}
	f.out.Table(rows)
	return nil
}

// shrink ends the tasks and waits until the pool is as small as it may be.
func (f *fleet) shrink(ctx context.Context, tasks []*task) error {
	f.out.Heading("The tasks end. What nobody needs for " + strconv.Itoa(int(idleTimeout.Seconds())) + " s goes.")
	for _, t := range tasks {
		if err := f.TerminateSession(ctx, t.session.ID()); err != nil {
			return err
		}
	}
	return f.settle(ctx, 1)
}
