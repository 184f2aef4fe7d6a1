package berth_test

import (
	"context"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/ec2test"
	"github.com/berth-go/berth/internal/testenv"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/store"
)

// TestEC2KilledAtAnyCall tells one story again and again: a pool grows, shrinks and is destroyed. Each time its process is
// killed at another of its calls to AWS and of its writes to the store, and another process finds what it has left.
func TestEC2KilledAtAnyCall(t *testing.T) {
	var sites []site
	// Whoever takes over does so before EC2 shows what was launched last.
	opts := ec2test.Options{LaunchLag: 30 * time.Second}
	onEC2With(t, opts, func(a *account) {
		calm := tale{account: a}
		calm.run(killPoint{})
		sites = calm.sites
	})
	points := killPoints(sites, testenv.Soak())
	t.Logf("%d points at %d calls:\n%s", len(points), len(sites), sortsOf(sites))
	for _, at := range points {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel()
			onEC2With(t, opts, func(a *account) {
				told := tale{account: a}
				told.run(at)
			})
			if !testenv.Soak() {
				return
			}
			onEC2With(t, opts, func(a *account) {
				told := tale{account: a}
				told.run(at, at)
			})
		})
	}
}

// killPoints returns points at calls: all, or those at the first and the last call of each sort.
func killPoints(sites []site, all bool) (points []killPoint) {
	count := make(map[string]int)
	for _, s := range sites {
		count[s.sort]++
	}
	for _, s := range sites {
		switch first, last := s.n == 1, s.n == count[s.sort]; {
		case s.readsOnly(): // then after is as before
			if all || first {
				points = append(points, killPoint{s, false})
			}
		case all || first:
			points = append(points, killPoint{s, false}, killPoint{s, true})
		case last:
			points = append(points, killPoint{s, true})
		}
	}
	return points
}

// tale is one run of the story.
type tale struct {
	*account
	sites []site // of the last process that was killed
	tasks []*told

	destroying bool   // Destroy has been called
	rest       func() // ends looking
}

// told is a task of the story, and what its process knew of it.
type told struct {
	name, repo string
	id         string // of its session; "" = not known
	ends       bool   // TerminateSession has been called
}

const (
	killMax  = 2 // instances
	killIdle = time.Minute
)

// run tells the story, and what follows when its process was killed. The second to come may be killed, too.
func (l *tale) run(points ...killPoint) {
	l.prepare()
	for i, at := range points {
		p, err := l.begin(fmt.Sprint("killed-", i), at)
		if err == nil && !l.destroying {
			err = l.story(p)
		}
		if !p.isDead() {
			if err != nil {
				l.Fatalf("the story fails: %v\n%s", err, l.log)
			}
			l.sites = p.sites
			p.kill() // it made fewer calls than the calm one
		}
		time.Sleep(2 * time.Second)
	}
	next, err := l.begin("next", killPoint{})
	if err != nil {
		l.Fatalf("no other process can begin: %v\n%s", err, l.log)
	}
	if !l.destroying {
		l.goOn(next)
	}
	l.end(next)
}

// prepare sets up the pool of the story.
func (l *tale) prepare() {
	l.withEngines()
	l.cfg.MinInstances, l.cfg.MaxInstances, l.cfg.MaxTasksPerInstance = 1, killMax, 1
	l.cfg.InstanceIdleTimeout = killIdle
	l.cfg.EC2.Spot = ec2cloud.SpotFirst
	l.tasks = []*told{{name: "t1", repo: repoA}, {name: "t2", repo: repoB}}
	over := make(chan struct{})
	var watching sync.WaitGroup
	watching.Go(func() {
		for {
			select {
			case <-over:
				return
			case <-time.After(500 * time.Millisecond):
				l.look()
			}
		}
	})
	l.rest = sync.OnceFunc(func() {
		close(over)
		watching.Wait()
	})
	l.Cleanup(l.rest)
}

// look checks what must hold at any time.
func (l *tale) look() {
	up := l.up()
	if len(up) > killMax {
		l.Errorf("%d instances cost money", len(up))
	}
	known := make(map[string]bool)
	for _, in := range l.records() {
		known[in.ID] = true
	}
	for _, i := range up {
		if launch := i.Tags["berth:launch"]; !known[launch] {
			l.Errorf("%s runs and has no record", i.ID)
		}
	}
}

func (a *account) records() (all []*store.Instance) {
	err := a.store.View(context.Background(), func(v store.View) (err error) {
		all, err = v.Instances(store.InstanceQuery{})
		return err
	})
	if err != nil {
		a.Error(err)
	}
	return all
}

// ready returns how many instances take sessions.
func (a *account) ready() (n int) {
	for _, in := range a.records() {
		if in.State == store.InstanceReady {
			n++
		}
	}
	return n
}

// story is what a process does that nobody kills.
func (l *tale) story(p *process) error {
	if err := p.until(5*time.Minute, func() bool { return l.ready() > 0 }); err != nil {
		return fmt.Errorf("the first instance: %w", err)
	}
	for _, task := range l.tasks {
		s, err := p.CreateSession(l.Context(), asking(task.name, task.repo))
		if err != nil {
			return err
		}
		task.id = s.ID()
	}
	if n := len(l.up()); n != killMax && !p.isDead() {
		return fmt.Errorf("there are %d instances for two tasks", n)
	}
	for _, task := range l.tasks {
		task.ends = true
		if err := p.TerminateSession(l.Context(), task.id); err != nil {
			return err
		}
	}
	if err := p.until(10*time.Minute, func() bool { return len(l.up()) == 1 && len(l.records()) == 1 }); err != nil {
		return fmt.Errorf("shrinking: %w", err)
	}
	l.destroying = true
	return p.Destroy(l.Context())
}

// goOn checks that a process finds the sessions of one that was killed, and that each task can go on.
func (l *tale) goOn(p *process) {
	ctx, cancel := context.WithTimeout(l.Context(), 15*time.Minute)
	defer cancel()
	for _, task := range l.tasks {
		if task.id != "" && !task.ends {
			found, err := p.GetSession(ctx, task.id)
			if err != nil || found.Info().State != berth.SessionActive {
				l.Fatalf("the session of %s is not found: %v, %v", task.name, found, err)
			}
		}
		s, err := p.CreateSession(ctx, asking(task.name, task.repo))
		if err != nil {
			l.Fatalf("%s cannot go on: %v\n%s", task.name, err, l.log)
		}
		if task.id != "" && !task.ends && s.ID() != task.id {
			l.Errorf("%s had session %s and has %s", task.name, task.id, s.ID())
		}
		task.id = s.ID()
		if err := s.Command(ctx, "work").Run(); err != nil {
			l.Errorf("%s cannot work: %v", task.name, err)
		}
	}
	for _, task := range l.tasks {
		if err := p.TerminateSession(ctx, task.id); err != nil {
			l.Errorf("%s cannot be ended: %v", task.name, err)
		}
	}
	err := p.until(20*time.Minute, func() bool { return len(l.up()) == 1 && len(l.records()) == 1 && l.ready() == 1 })
	if err != nil {
		l.Errorf("the pool does not shrink to one instance: %v, %d run, the records are %+v\n%s", err, len(l.up()), l.records(), l.log)
	}
}

// end destroys the pool, and checks that nothing is left of it.
func (l *tale) end(p *process) {
	ctx, cancel := context.WithTimeout(l.Context(), 20*time.Minute)
	defer cancel()
	if err := p.Destroy(ctx); err != nil {
		l.Errorf("Destroy: %v\n%s", err, l.log)
	}
	time.Sleep(time.Minute)
	for _, i := range l.up() {
		l.Errorf("%s is %s", i.ID, i.State)
	}
	if left := l.server.Leftovers(); len(left) > 0 {
		l.Errorf("left: %q", left)
	}
	for _, id := range l.openRequests() {
		l.Errorf("spot request %s is open", id)
	}
	tokens := make(map[string]string)
	for _, r := range l.server.Requests("ec2:RunInstances") {
		token, form := r.Form.Get("ClientToken"), r.Form.Encode()
		if r.Form.Get("DryRun") == "true" {
			continue
		}
		if was, used := tokens[token]; token == "" || used && was != form {
			l.Errorf("client token %q was used with two requests:\n%s\n%s", token, was, form)
		}
		tokens[token] = form
	}
	if strings.Contains(l.log.String(), "IdempotentParameterMismatch") {
		l.Error("a client token was used with another request")
	}
}

// openRequests returns the spot requests that may still give an instance.
func (a *account) openRequests() (ids []string) {
	out, err := ec2.NewFromConfig(*a.cfg.EC2.AWS).DescribeSpotInstanceRequests(a.Context(), &ec2.DescribeSpotInstanceRequestsInput{
		Filters: []types.Filter{{Name: aws.String("state"), Values: []string{"open", "active"}}},
	})
	if err != nil {
		a.Fatal(err)
	}
	for _, r := range out.SpotInstanceRequests {
		ids = append(ids, aws.ToString(r.SpotInstanceRequestId))
	}
	return ids
}
