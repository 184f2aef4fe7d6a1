package berth_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"os"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/pool"
)

// newProvider makes the Provider of these examples. It is the real one over fakes that answer at once; run stands for
// the commands. A program calls berth.NewLocalProvider.
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
		Instant: true,
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

// Tasks on one repository share its container. It does not matter who their users are and how they spell the remote.
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

// A TaskID has one session at a time. A program that does not know whether its request arrived can send it again.
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

// Done is closed when a session ends, for any reason. Err says why.
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

// newSession creates a session. run stands for its commands.
func newSession(ctx context.Context, run func(context.Context, fake.Command) int) (*berth.Session, *berth.Provider) {
	p := newProvider(berth.Config{}, run)
	s, err := p.CreateSession(ctx, berth.SessionRequest{
		TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop",
	})
	if err != nil {
		log.Fatal(err)
	}
	return s, p
}

// Command is os/exec's, run in the session's checkout under the session's own uid.
func ExampleSession_Command() {
	ctx := context.Background()
	s, p := newSession(ctx, func(_ context.Context, c fake.Command) int {
		fmt.Fprintln(c.Stderr, "fatal: bad revision 'v9'")
		return 128
	})
	defer p.Close()

	_, err := s.Command(ctx, "git", "show", "v9").Output()
	if failure, ok := errors.AsType[*berth.ExitError](err); ok {
		fmt.Printf("exit code %d: %s", failure.Code, failure.Stderr)
	}
	// Output:
	// exit code 128: fatal: bad revision 'v9'
}

// The output of a long command arrives as it is written. It is not buffered: a command waits until its output is read.
func ExampleCmd_StdoutPipe() {
	ctx := context.Background()
	s, p := newSession(ctx, func(_ context.Context, c fake.Command) int {
		for i := range 3 {
			fmt.Fprintf(c.Stdout, "step %d\n", i+1)
		}
		return 0
	})
	defer p.Close()

	cmd := s.Command(ctx, "agent", "--verbose")
	stdout, err := cmd.StdoutPipe()
	if err != nil {
		log.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	for lines := bufio.NewScanner(stdout); lines.Scan(); {
		fmt.Println("agent:", lines.Text())
	}
	fmt.Println(cmd.Wait())
	// Output:
	// agent: step 1
	// agent: step 2
	// agent: step 3
	// <nil>
}

// Stdin, Stdout and Stderr stream from and to wherever the program likes; Env and Dir are this command's alone.
func ExampleCmd() {
	ctx := context.Background()
	s, p := newSession(ctx, func(_ context.Context, c fake.Command) int {
		prompt, _ := io.ReadAll(c.Stdin)
		fmt.Fprintf(c.Stdout, "%s thinks about %q\n", c.Env["MODEL"], prompt)
		return 0
	})
	defer p.Close()

	cmd := s.Command(ctx, "agent")
	cmd.Env = []string{"MODEL=small"}
	cmd.Dir = "cart" // in the checkout
	cmd.Stdin = strings.NewReader("fix the login")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	if err := cmd.Run(); err != nil {
		log.Fatal(err)
	}
	// Output:
	// small thinks about "fix the login"
}

// When its context ends, a command is killed with everything that it started.
func ExampleCmd_Wait_timeout() {
	s, p := newSession(context.Background(), func(ctx context.Context, c fake.Command) int {
		<-ctx.Done() // sleeps until it is killed
		return -9
	})
	defer p.Close()

	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Millisecond)
	defer cancel()
	err := s.Command(ctx, "sleep", "infinity").Run()
	fmt.Println(err)
	// Output:
	// context deadline exceeded
}

// A session that runs no command is kept by KeepAlive: while its user reads what it has done, or its agent thinks
// elsewhere. Call it a few times per IdleTimeout.
func ExampleSession_KeepAlive() {
	ctx := context.Background()
	p := newProvider(berth.Config{}, nil)
	defer p.Close()

	s, err := p.CreateSession(ctx, berth.SessionRequest{
		TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop", IdleTimeout: time.Hour,
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := s.KeepAlive(ctx); err != nil {
		log.Fatal(err)
	}
	info, err := s.Refresh(ctx)
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println("for an hour:", time.Until(info.LeaseUntil) >= time.Hour)

	if err := p.TerminateSession(ctx, s.ID()); err != nil {
		log.Fatal(err)
	}
	fmt.Println("too late:", errors.Is(s.KeepAlive(ctx), berth.ErrTerminated))
	// Output:
	// for an hour: true
	// too late: true
}

// The bill of a month, by repository. The part without a key is idle.
func ExampleProvider_Usage() {
	ctx := context.Background()
	cfg := berth.Config{
		PricePerHour: func(m pool.Machine) (usd float64, ok bool) { // see also ec2cloud.NewPrices
			usd, ok = map[string]float64{"t3.large": 0.0832, "m7i.large": 0.1008}[m.Type]
			return usd, ok
		},
	}
	p := newProvider(cfg, nil)
	defer p.Close()

	month := time.Date(2026, 11, 1, 0, 0, 0, 0, time.UTC)
	for u, err := range p.Usage(ctx, berth.UsageQuery{From: month, To: month.AddDate(0, 1, 0), By: berth.UsageByRepository}) {
		if err != nil {
			log.Fatal(err)
		}
		fmt.Printf("%-40s %v used, %v idle, %d attached, %v saved, %.2f USD\n",
			u.Key, u.Used, u.Idle, u.Starts[berth.StartAttached], u.Saved, u.USD)
	}
	// Output:
}
