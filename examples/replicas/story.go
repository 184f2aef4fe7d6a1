package main

import (
	"context"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth"
)

// A story is told on a stage.
type story struct {
	*stage
	uid string // of fix-login

	// What happened:

	before, after map[string]Place // the tasks when A was killed, as B sees them, and soon after that, as C does
	written       [2]int           // lines that a command of A's task had written before and some time after the kill
	cut, anew     Place            // a task while A was creating it, and as B has created it
	waited        time.Duration    // from the kill of A until B had created it
	twins         [2]Place         // one task that B and C have created at the same time
	processes     [2]int           // of A's task, as a task beside it sees them before its end and after
	planners      [2][]string      // the replicas that planned before the kill, and at the end
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

// create creates a task through a replica, and says what it found.
func (s *story) create(ctx context.Context, r *replica, task Task) (Place, error) {
	begun := time.Now()
	p, err := r.create(ctx, task)
	if err == nil {
		s.out.say("%s: %s has started (%s, %d ms) in %s", r.name, p.Task, p.Start, time.Since(begun).Milliseconds(), p.Container)
	}
	return p, err
}

// The tasks of the story.
func (s *story) fixLogin() Task { return Task{ID: "fix-login", User: "alice", Repository: s.shop} }
func (s *story) addTests() Task { return Task{ID: "add-tests", User: "bob", Repository: s.shop} }
func (s *story) polish() Task   { return Task{ID: "polish", User: "carol", Repository: s.shop} }
func (s *story) mendTypos() Task {
	return Task{ID: "mend-typos", User: "carol", Repository: s.shop}
}
func (s *story) roundCents() Task {
	return Task{ID: "round-cents", User: "alice", Repository: s.billing}
}

// share lets the replicas share a container.
func (s *story) share(ctx context.Context) error {
	s.out.heading("Two tasks through A and one through B, on one repository, share one container.")
	for _, t := range []struct {
		at   *replica
		task Task
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
	s.out.say("C: a command in fix-login, which A has made, runs with uid %s at the commit %q", s.uid, commit)
	s.planners[0], err = s.whoPlans(ctx, s.a, s.b, s.c)
	return err
}

// A command that writes a line into its checkout ten times a second, for ten minutes.
const longCommand = `i=0; while [ $i -lt 6000 ]; do i=$((i+1)); echo $i | tee -a progress; sleep 0.1; done`

// kill kills A while a command of one of its tasks runs, and while it creates another.
func (s *story) kill(ctx context.Context) error {
	s.out.heading("A is killed (SIGKILL) while it runs a long command in fix-login, and while it creates round-cents.")
	gone, err := s.a.watch(ctx, "fix-login", longCommand, 5)
	if err != nil {
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
	s.waited = -time.Since(s.out.begun)
	s.out.say("A is dead; of round-cents B knows that it is %s", s.cut.State)
	if err := <-gone; err == nil {
		return errors.New("the output of the long command has come to its end")
	}
	if err := <-created; err == nil {
		return errors.New("round-cents was created before A was killed")
	}
	return nil
}

// goOn does through B and C what A cannot do any more.
func (s *story) goOn(ctx context.Context) (err error) {
	s.out.heading("The tasks are still there, and others wait for nothing.")
	if s.after, err = s.c.tasks(ctx); err != nil {
		return err
	}
	for _, id := range slices.Sorted(maps.Keys(s.after)) {
		s.out.say("C: %s is %s", id, s.after[id].State)
	}
	for i := range s.written {
		said, err := s.c.run(ctx, "fix-login", "sleep 0.5; wc -l < progress")
		if err != nil {
			return err
		}
		if s.written[i], err = strconv.Atoi(said); err != nil {
			return err
		}
		s.out.say("C: the checkout of fix-login has what A's command wrote, %d lines: the command goes on", s.written[i])
	}
	s.out.heading("The task whose creation was cut off is created again, through B: once A is known to be dead.")
	if s.anew, err = s.create(ctx, s.b, s.roundCents()); err != nil {
		return err
	}
	s.waited += time.Since(s.out.begun)
	s.out.say("that was %.1f s after A was killed", s.waited.Seconds())
	return nil
}

// race creates one task through two replicas at once.
func (s *story) race(ctx context.Context) error {
	s.out.heading("B and C create one task at once, and get one session.")
	var errs [2]error
	var wg sync.WaitGroup
	for i, r := range []*replica{s.b, s.c} {
		wg.Go(func() { s.twins[i], errs[i] = s.create(ctx, r, s.mendTypos()) })
	}
	wg.Wait()
	s.out.say("B has session %s, C has %s", s.twins[0].Session, s.twins[1].Session)
	return errors.Join(errs[:]...)
}

// end ends what A had made, and then everything.
func (s *story) end(ctx context.Context) (err error) {
	s.out.heading("What A has made is ended through C, its command included; then B destroys the pool.")
	if s.processes[0], err = s.countProcesses(ctx); err != nil {
		return err
	}
	for _, id := range []string{"fix-login", "add-tests"} {
		begun := time.Now()
		if err := s.c.call(ctx, http.MethodDelete, "/tasks/"+id, nil, nil); err != nil {
			return err
		}
		s.out.say("C: %s has ended (%d ms)", id, time.Since(begun).Milliseconds())
	}
	tasks, err := s.c.tasks(ctx)
	if err != nil {
		return err
	}
	if s.processes[1], err = s.countProcesses(ctx); err != nil {
		return err
	}
	s.out.say("C: %s go on; of the processes of fix-login, %d before, there are %d", strings.Join(slices.Sorted(maps.Keys(tasks)), ", "),
		s.processes[0], s.processes[1])
	if s.planners[1], err = s.whoPlans(ctx, s.b, s.c); err != nil {
		return err
	}
	if err := s.b.call(ctx, http.MethodDelete, "/pool", nil, nil); err != nil {
		return err
	}
	s.destroyed = true
	s.out.say("B: the pool is destroyed")
	return nil
}

// countProcesses lets a task that shares fix-login's container count the processes of fix-login, by its uid.
func (s *story) countProcesses(ctx context.Context) (n int, err error) {
	said, err := s.c.run(ctx, "polish", "find /proc -maxdepth 1 -user "+s.uid+" | wc -l")
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(said)
}

// whoPlans asks replicas what they have done, and returns those that plan.
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
	s.out.table(rows)
	return names, nil
}
