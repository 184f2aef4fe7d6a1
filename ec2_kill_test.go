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
	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/internal/test/ec2world"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/pool/ec2cloud"
)

// TestEC2KilledAtAnyCall runs one story many times: a pool grows, shrinks and is destroyed. Each time its process is
// killed at another of its calls to AWS or of its writes to the store, and a second process takes over.
func TestEC2KilledAtAnyCall(t *testing.T) {
	var sites []ec2world.Site
	// The next process takes over before EC2 shows the last launch.
	opts := ec2test.Options{LaunchLag: 30 * time.Second}
	ec2world.RunWith(t, opts, func(a *ec2world.Account) {
		calm := tale{Account: a}
		calm.run(ec2world.KillPoint{})
		sites = calm.sites
	})
	points := killPoints(sites, testenv.Soak())
	t.Logf("%d points at %d calls:\n%s", len(points), len(sites), ec2world.CountSorts(sites))
	for _, at := range points {
		t.Run(at.String(), func(t *testing.T) {
			t.Parallel()
			ec2world.RunWith(t, opts, func(a *ec2world.Account) {
				l := tale{Account: a}
				l.run(at)
			})
			if !testenv.Soak() {
				return
			}
			ec2world.RunWith(t, opts, func(a *ec2world.Account) {
				l := tale{Account: a}
				l.run(at, at)
			})
		})
	}
}

// killPoints returns the points at all calls, or those at the first and the last call of each sort.
func killPoints(sites []ec2world.Site, all bool) (points []ec2world.KillPoint) {
	count := make(map[string]int)
	for _, s := range sites {
		count[s.Sort]++
	}
	for _, s := range sites {
		switch first, last := s.N == 1, s.N == count[s.Sort]; {
		case s.ReadsOnly(): // killing it after is the same as before
			if all || first {
				points = append(points, ec2world.KillPoint{Site: s})
			}
		case all || first:
			points = append(points, ec2world.KillPoint{Site: s}, ec2world.KillPoint{Site: s, After: true})
		case last:
			points = append(points, ec2world.KillPoint{Site: s, After: true})
		}
	}
	return points
}

// tale is one run of the story.
type tale struct {
	*ec2world.Account
	sites []ec2world.Site // of the last process that was killed
	tasks []*storyTask

	destroying bool   // Destroy has been called
	rest       func() // stops look
}

// storyTask is a task of the story, with the facts that its process knew.
type storyTask struct {
	name, repo string
	id         string // of its session; "" = not known
	ends       bool   // TerminateSession has been called
}

const (
	killMax  = 2 // instances
	killIdle = time.Minute
)

// run runs the story with a process for each point. The next process then goes on and destroys the pool.
func (l *tale) run(points ...ec2world.KillPoint) {
	l.prepare()
	for i, at := range points {
		p, err := l.Begin(fmt.Sprint("killed-", i), at)
		if err == nil && !l.destroying {
			err = l.story(p)
		}
		if !p.Dead() {
			if err != nil {
				l.Fatalf("the story fails: %v\n%s", err, l.Log)
			}
			l.sites = p.Sites()
			p.Kill() // it made fewer calls than the process that was not killed
		}
		time.Sleep(2 * time.Second)
	}
	next, err := l.Begin("next", ec2world.KillPoint{})
	if err != nil {
		l.Fatalf("no other process can begin: %v\n%s", err, l.Log)
	}
	if !l.destroying {
		l.goOn(next)
	}
	l.end(next)
}

// prepare sets up the pool of the story.
func (l *tale) prepare() {
	l.WithEngines(berth.NewEC2WithEngine)
	l.Config.MinInstances, l.Config.MaxInstances, l.Config.MaxTasksPerInstance = 1, killMax, 1
	l.Config.InstanceIdleTimeout = killIdle
	l.Config.EC2.Spot = ec2cloud.SpotFirst
	l.tasks = []*storyTask{{name: "t1", repo: world.RepoA}, {name: "t2", repo: world.RepoB}}
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

// look checks the invariants that hold at any time.
func (l *tale) look() {
	up := l.Costing()
	if len(up) > killMax {
		l.Errorf("%d instances cost money", len(up))
	}
	known := make(map[string]bool)
	for _, in := range l.Instances() {
		known[in.ID] = true
	}
	for _, i := range up {
		if launch := i.Tags["berth:launch"]; !known[launch] {
			l.Errorf("%s runs and has no record", i.ID)
		}
	}
}

// story is the life of a process that is not killed.
func (l *tale) story(p *ec2world.Process) error {
	if err := p.Until(5*time.Minute, func() bool { return l.Ready() > 0 }); err != nil {
		return fmt.Errorf("the first instance: %w", err)
	}
	for _, task := range l.tasks {
		s, err := p.CreateSession(l.Context(), world.Request(task.name, task.repo))
		if err != nil {
			return err
		}
		task.id = s.ID()
	}
	if n := len(l.Costing()); n != killMax && !p.Dead() {
		return fmt.Errorf("there are %d instances for two tasks", n)
	}
	for _, task := range l.tasks {
		task.ends = true
		if err := p.TerminateSession(l.Context(), task.id); err != nil {
			return err
		}
	}
	if err := p.Until(10*time.Minute, func() bool { return len(l.Costing()) == 1 && len(l.Instances()) == 1 }); err != nil {
		return fmt.Errorf("shrinking: %w", err)
	}
	l.destroying = true
	return p.Destroy(l.Context())
}

// goOn checks that a process finds the sessions of a killed one, and that each task can continue.
func (l *tale) goOn(p *ec2world.Process) {
	ctx, cancel := context.WithTimeout(l.Context(), 15*time.Minute)
	defer cancel()
	for _, task := range l.tasks {
		if task.id != "" && !task.ends {
			found, err := p.GetSession(ctx, task.id)
			if err != nil || found.Info().State != berth.SessionActive {
				l.Fatalf("the session of %s is not found: %v, %v", task.name, found, err)
			}
		}
		s, err := p.CreateSession(ctx, world.Request(task.name, task.repo))
		if err != nil {
			l.Fatalf("%s cannot go on: %v\n%s", task.name, err, l.Log)
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
	err := p.Until(20*time.Minute, func() bool { return len(l.Costing()) == 1 && len(l.Instances()) == 1 && l.Ready() == 1 })
	if err != nil {
		l.Errorf("the pool does not shrink to one instance: %v, %d run, the records are %+v\n%s", err, len(l.Costing()), l.Instances(), l.Log)
	}
}

// end destroys the pool, and checks that nothing is left of it.
func (l *tale) end(p *ec2world.Process) {
	ctx, cancel := context.WithTimeout(l.Context(), 20*time.Minute)
	defer cancel()
	if err := p.Destroy(ctx); err != nil {
		l.Errorf("Destroy: %v\n%s", err, l.Log)
	}
	time.Sleep(time.Minute)
	for _, i := range l.Costing() {
		l.Errorf("%s is %s", i.ID, i.State)
	}
	if left := l.Server.Leftovers(); len(left) > 0 {
		l.Errorf("left: %q", left)
	}
	for _, id := range openRequests(l.Account) {
		l.Errorf("spot request %s is open", id)
	}
	tokens := make(map[string]string)
	for _, r := range l.Server.Requests("ec2:RunInstances") {
		token, form := r.Form.Get("ClientToken"), r.Form.Encode()
		if r.Form.Get("DryRun") == "true" {
			continue
		}
		if was, used := tokens[token]; token == "" || used && was != form {
			l.Errorf("client token %q was used with two requests:\n%s\n%s", token, was, form)
		}
		tokens[token] = form
	}
	if strings.Contains(l.Log.String(), "IdempotentParameterMismatch") {
		l.Error("a client token was used with another request")
	}
}

// openRequests returns the spot requests that may still launch an instance.
func openRequests(a *ec2world.Account) (ids []string) {
	out, err := ec2.NewFromConfig(*a.Config.EC2.AWS).DescribeSpotInstanceRequests(a.Context(), &ec2.DescribeSpotInstanceRequestsInput{
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
