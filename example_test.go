package berth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

// newProvider makes the Provider of these examples: the real one over fakes that answer at once, whose commands do
// what run does. A program calls berth.NewLocalProvider.
func newProvider(cfg berth.Config, run func(context.Context, fake.Command) int) *berth.Provider {
	cloud := fake.NewCloud(fake.CloudOptions{Instant: true})
	engine := fake.NewEngine(fake.EngineOptions{Cloud: cloud, Instant: true, Run: run, Repositories: map[string]fake.Repo{
		"https://github.com/acme/gone": {Missing: true},
	}})
	p, err := fake.NewProvider(fake.Options{Config: cfg, Cloud: cloud, Engine: engine})
	if err != nil {
		log.Fatal(err)
	}
	return p
}

// A task gets its session, runs a command in it, and ends.
func Example() {
	ctx := context.Background()
	p, err := fake.NewProvider(fake.Options{ // a program: berth.NewLocalProvider(ctx, berth.Config{})
		Cloud: fake.NewCloud(fake.CloudOptions{Instant: true}),
		Run: func(_ context.Context, c fake.Command) int {
			fmt.Fprintln(c.Stdout, "ok  acme/shop/cart")
			return 0
		},
	})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	s, err := p.CreateSession(ctx, berth.SessionRequest{
		TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop",
	})
	if err != nil {
		log.Fatal(err)
	}
	out, err := s.Command(ctx, "go", "test", "./...").CombinedOutput()
	if err != nil {
		log.Fatal(err)
	}
	fmt.Printf("%s", out)
	if err := p.TerminateSession(ctx, s.ID()); err != nil {
		log.Fatal(err)
	}
	// Output:
	// ok  acme/shop/cart
}

// Tasks on one repository share its container, whoever's they are and however the remote is spelled.
func ExampleProvider_CreateSession() {
	ctx := context.Background()
	p := newProvider(berth.Config{}, nil)
	defer p.Close()

	for _, req := range []berth.SessionRequest{
		{TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop"},
		{TaskID: "add-tests", UserID: "bob", Repository: "git@github.com:acme/shop.git"},
		{TaskID: "write-docs", UserID: "alice", Repository: "https://github.com/acme/billing"},
	} {
		s, err := p.CreateSession(ctx, req)
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(s.Info().TaskID, s.Info().Start, s.Info().Container.Name)
	}
	// Output:
	// fix-login cold repo-acme-shop-fb79qz970xwb
	// add-tests attached repo-acme-shop-fb79qz970xwb
	// write-docs cold repo-acme-billing-wvsv88y5fm99
}

// A TaskID has one session at a time: who is not sure whether a request arrived sends it again.
func ExampleProvider_CreateSession_retry() {
	ctx := context.Background()
	p := newProvider(berth.Config{}, nil)
	defer p.Close()

	req := berth.SessionRequest{TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop"}
	first, err := p.CreateSession(ctx, req)
	if err != nil {
		log.Fatal(err)
	}
	again, err := p.CreateSession(ctx, req)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("same session:", first.ID() == again.ID())

	req.UserID = "bob"
	_, err = p.CreateSession(ctx, req)
	fmt.Println("another user:", errors.Is(err, berth.ErrTaskConflict))
	// Output:
	// same session: true
	// another user: true
}

// A StartError says how far a session came, and holds git's own message. Nothing is left of the session.
func ExampleStartError() {
	ctx := context.Background()
	p := newProvider(berth.Config{}, nil)
	defer p.Close()

	_, err := p.CreateSession(ctx, berth.SessionRequest{
		TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/gone",
	})
	if failure, ok := errors.AsType[*berth.StartError](err); ok {
		fmt.Println(failure.Phase, failure.Repository)
	}
	// Output:
	// fetching github.com/acme/gone
}

// The container goes with its last session.
func ExampleProvider_TerminateSession() {
	ctx := context.Background()
	p := newProvider(berth.Config{}, nil)
	defer p.Close()

	var sessions []*berth.Session
	for _, task := range []string{"fix-login", "add-tests"} {
		s, err := p.CreateSession(ctx, berth.SessionRequest{
			TaskID: task, UserID: "alice", Repository: "https://github.com/acme/shop",
		})
		if err != nil {
			log.Fatal(err)
		}
		sessions = append(sessions, s)
	}
	for _, s := range sessions {
		for r, err := range p.Repositories(ctx) {
			if err != nil {
				log.Fatal(err)
			}
			fmt.Println(r.Repository, "has tasks:", r.Tasks)
		}
		if err := p.TerminateSession(ctx, s.ID()); err != nil {
			log.Fatal(err)
		}
	}
	for r := range p.Repositories(ctx) {
		fmt.Println("left:", r.Repository)
	}
	// Output:
	// github.com/acme/shop has tasks: 2
	// github.com/acme/shop has tasks: 1
}

// Labels find sessions again, from every process that shares the Store.
func ExampleProvider_ListSessions() {
	ctx := context.Background()
	p := newProvider(berth.Config{}, nil)
	defer p.Close()

	for task, team := range map[string]string{"fix-login": "web", "send-invoices": "billing"} {
		_, err := p.CreateSession(ctx, berth.SessionRequest{
			TaskID: task, UserID: "alice", Repository: "https://github.com/acme/shop",
			Labels: map[string]string{"team": team},
		})
		if err != nil {
			log.Fatal(err)
		}
	}
	for s, err := range p.ListSessions(ctx, berth.SessionFilter{Labels: map[string]string{"team": "web"}}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(s.Info().TaskID, s.Info().State)
	}
	// Output:
	// fix-login active
}

// Done is closed when a session ends, for whatever reason; Err says why.
func ExampleSession_Done() {
	ctx := context.Background()
	cloud := fake.NewCloud(fake.CloudOptions{Instant: true})
	engine := fake.NewEngine(fake.EngineOptions{Cloud: cloud, Instant: true})
	p, err := fake.NewProvider(fake.Options{Engine: engine, Cloud: cloud})
	if err != nil {
		log.Fatal(err)
	}
	defer p.Close()

	s, err := p.CreateSession(ctx, berth.SessionRequest{
		TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop",
	})
	if err != nil {
		log.Fatal(err)
	}
	engine.KillContainer(s.Info().Container.Name) // the kernel had no memory left
	<-s.Done()
	fmt.Println("container lost:", errors.Is(s.Err(), berth.ErrContainerLost))
	// Output:
	// container lost: true
}

// OnEvent tells what happens: progress for the user who waits, interruptions, ends.
func ExampleConfig_onEvent() {
	ctx := context.Background()
	p := newProvider(berth.Config{OnEvent: func(e berth.Event) {
		switch e.Type {
		case berth.EventProgress: // e.Message is like "Receiving objects: 50 %"
		case berth.EventSessionActive:
			fmt.Println(e.TaskID, "is active:", e.Start)
		case berth.EventSessionEnded:
			fmt.Println(e.TaskID, "has ended:", e.Err)
		case berth.EventContainerGone:
			fmt.Println(e.Repository, "has no container any more")
		}
	}}, nil)

	s, err := p.CreateSession(ctx, berth.SessionRequest{
		TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop",
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := p.TerminateSession(ctx, s.ID()); err != nil {
		log.Fatal(err)
	}
	if err := p.Close(); err != nil { // all events are delivered
		log.Fatal(err)
	}
	// Output:
	// fix-login is active: cold
	// fix-login has ended: berth: the session was terminated
	// github.com/acme/shop has no container any more
}

// A program depends on ComputeProvider alone; its unit test gives it a Provider over fakes. See examples/hosttest.
func ExampleComputeProvider() {
	runTests := func(ctx context.Context, compute berth.ComputeProvider, task, repository string) (passed bool, err error) {
		s, err := compute.CreateSession(ctx, berth.SessionRequest{TaskID: task, UserID: "ci", Repository: repository})
		if err != nil {
			return false, err
		}
		defer compute.TerminateSession(context.WithoutCancel(ctx), s.ID())
		err = s.Command(ctx, "make", "test").Run()
		if _, failed := errors.AsType[*berth.ExitError](err); failed {
			return false, nil
		}
		return err == nil, err
	}

	ctx := context.Background()
	p := newProvider(berth.Config{}, func(_ context.Context, c fake.Command) int {
		io.WriteString(c.Stderr, "FAIL\n")
		return 1
	})
	defer p.Close()
	passed, err := runTests(ctx, p, "nightly", "https://github.com/acme/shop")
	fmt.Println(passed, err)
	// Output:
	// false <nil>
}
