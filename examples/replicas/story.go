package main

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/examples/hosttest"
)

// A story runs on a stage, and keeps what happened.
type story struct {
	*stage
	uid string // of fix-login
	run string // the path of its long run

	// The results:

	before, after map[string]hosttest.Place // the tasks when A was killed, as B sees them, and soon after that, as C does
	written       [2]int                    // lines that the run of A's task had printed before and some time after the kill
	cut, anew     hosttest.Place            // a task while A was creating it, and as B has created it
	killed        time.Time                 // when A was
	waited        time.Duration             // from the kill of A until B had created it
	twins         [2]hosttest.Place         // one task that B and C have created at the same time
	processes     [2]int                    // of A's task, as a task beside it sees them before its end and after
	planners      [2][]string               // the replicas that planned before the kill, and at the end
}

// tell tells the story.
func (s *story) tell(ctx context.Context) error {
	for _, part := range []func(context.Context) error{s.share, s.kill, s.goOn, s.race, s.end} {
		if err := part(ctx); err != nil {
			return err
		}
	}
	return nil
}

// create creates a task through a replica, and prints how it started.
func (s *story) create(ctx context.Context, r *replica, t task) (hosttest.Place, error) {
	begun := time.Now()
	p, err := r.create(ctx, t)
	if err == nil {
		s.out.Say("%s: %s has started (%s, %d ms) in %s", r.name, p.Task, p.Start, time.Since(begun).Milliseconds(), p.Container)
	}
	return p, err
}

// The tasks of the story.
func (s *story) fixLogin() task   { return taskOn(s.shop, "fix-login", "alice") }
func (s *story) addTests() task   { return taskOn(s.shop, "add-tests", "bob") }
func (s *story) polish() task     { return taskOn(s.shop, "polish", "carol") }
func (s *story) mendTypos() task  { return taskOn(s.shop, "mend-typos", "carol") }
func (s *story) roundCents() task { return taskOn(s.billing, "round-cents", "alice") }

func taskOn(repository, id, user string) task {
	return task{id, hosttest.Task{User: user, Repository: repository}}
}

// share lets the replicas share a container.
func (s *story) share(ctx context.Context) error {
	s.out.Heading("Two tasks through A and one through B, on one repository, share one container.")
	for _, t := range []struct {
		at   *replica
		task task
	}{{s.a, s.fixLogin()}, {s.a, s.addTests()}, {s.b, s.polish()}} {
		if _, err := s.create(ctx, t.at, t.task); err != nil {
			return err
		}
	}
	said, err := s.c.run(ctx, "fix-login", "id -u; git log -1 --format=%s")
	if err != nil {
		return err
	}
	var commit string
	s.uid, commit, _ = strings.Cut(said, "\n")
	s.out.Say("C: a command in fix-login, which A has made, runs with uid %s at the commit %q", s.uid, commit)
	s.planners[0], err = s.whoPlans(ctx, s.a, s.b, s.c)
	return err
}

// A run that prints a line ten times a second, for ten minutes.
const longRun = `i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo $i; sleep 0.1; done`

// kill kills A while a run of one of its tasks goes on, and while it creates another.
func (s *story) kill(ctx context.Context) (err error) {
	s.out.Heading("A is killed (SIGKILL) while a long run goes on in fix-login, and while it creates round-cents.")
	if s.run, err = s.a.start(ctx, "fix-login", longRun); err != nil {
		return err
	}
	if _, err = s.a.await(ctx, s.run, func(l look) bool { return l.lines() >= 5 }); err != nil {
		return err
	}
	created := make(chan error, 1)
	go func() {
		_, err := s.a.create(ctx, s.roundCents())
		created <- err
	}()
	for s.cut.State != berth.SessionCreating {
		if s.before, err = s.b.tasks(ctx); err != nil {
			return err
		}
		s.cut = s.before["round-cents"]
		select {
		case err := <-created:
			return errors.Join(errors.New("the creation of round-cents has ended before A could be killed"), err)
		default:
		}
	}
	s.a.kill()
	s.killed = time.Now()
	s.out.Say("A is dead; of round-cents B knows that it is %s", s.cut.State)
	if err := <-created; err == nil {
		return errors.New("round-cents was created before A was killed")
	}
	return nil
}

// goOn continues the work of A through B and C.
func (s *story) goOn(ctx context.Context) (err error) {
	s.out.Heading("The tasks are still there, and others wait for nothing.")
	if s.after, err = s.c.tasks(ctx); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(s.after)) {
		s.out.Say("C: %s is %s", id, s.after[id].State)
	}
	for i := range s.written {
		l, err := s.c.await(ctx, s.run, func(l look) bool { return i == 0 || l.lines() > s.written[0] })
		if err != nil {
			return err
		}
		s.written[i] = l.lines()
		s.out.Say("C: the run that A started in fix-login is %s, and has printed %d lines", l.state, s.written[i])
	}
	s.out.Heading("The task whose creation was cut off is created again, through B: once A is known to be dead.")
	if s.anew, err = s.create(ctx, s.b, s.roundCents()); err != nil {
		return err
	}
	s.waited = time.Since(s.killed)
	s.out.Say("that was %.1f s after A was killed", s.waited.Seconds())
	return nil
}

// race creates one task through two replicas at once.
func (s *story) race(ctx context.Context) error {
	s.out.Heading("B and C create one task at once, and get one session.")
	var both errgroup.Group
	for i, r := range []*replica{s.b, s.c} {
		both.Go(func() (err error) {
			s.twins[i], err = s.create(ctx, r, s.mendTypos())
			return err
		})
	}
	if err := both.Wait(); err != nil {
		return err
	}
	s.out.Say("B has session %s, C has %s", s.twins[0].Session, s.twins[1].Session)
	return nil
}

// end ends the tasks of A, and then everything.
func (s *story) end(ctx context.Context) (err error) {
	s.out.Heading("What A has made is ended through C, its run included; then B destroys the pool.")
	if s.processes[0], err = s.countProcesses(ctx, "fix-login"); err != nil {
		return err
	}
	for _, id := range []string{"fix-login", "add-tests"} {
		begun := time.Now()
		if err := s.c.call(ctx, http.MethodDelete, "/tasks/"+id, nil, nil); err != nil {
			return err
		}
		s.out.Say("C: %s has ended (%d ms)", id, time.Since(begun).Milliseconds())
	}
	tasks, err := s.c.tasks(ctx)
	if err != nil {
		return err
	}
	if s.processes[1], err = s.countProcesses(ctx, "polish"); err != nil {
		return err
	}
	s.out.Say("C: %s go on; of the processes of fix-login, %d before, they see %d", strings.Join(slices.Sorted(maps.Keys(tasks)), ", "),
		s.processes[0], s.processes[1])
	if s.planners[1], err = s.whoPlans(ctx, s.b, s.c); err != nil {
		return err
	}
	if err := s.b.call(ctx, http.MethodDelete, "/pool", nil, nil); err != nil {
		return err
	}
	s.destroyed = true
	s.out.Say("B: the pool is destroyed")
	return nil
}

// countProcesses lets a task count the processes of fix-login that it sees, by their uid.
func (s *story) countProcesses(ctx context.Context, by string) (n int, err error) {
	said, err := s.c.run(ctx, by, "find /proc -maxdepth 1 -user "+s.uid+" | wc -l")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(said)
}

// whoPlans returns the replicas that plan, by their statistics.
func (s *story) whoPlans(ctx context.Context, replicas ...*replica) (names []string, err error) {
	rows := [][]string{{"REPLICA", "PLANS", "COLD", "WARM", "ATTACHED", "ENDED"}}
	for _, r := range replicas {
		var did berth.Stats
		if err := r.call(ctx, http.MethodGet, "/stats", nil, &did); err != nil {
			return nil, err
		}
		plans := ""
		if did.Planner {
			plans = "yes"
			names = append(names, r.name)
		}
		row := []string{r.name, plans}
		for _, n := range []int64{did.Cold, did.Warm, did.Attached, did.Ended} {
			row = append(row, strconv.FormatInt(n, 10))
		}
		rows = append(rows, row)
	}
	s.out.Table(rows)
	return names, nil
}
