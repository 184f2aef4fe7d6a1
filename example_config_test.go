package berth_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool/ec2cloud"
	"github.com/berth-go/berth/store/memstore"
)

// Sharing keeps tenants apart, ImageFor gives a repository the tools that it needs, and Limits bound what all the tasks
// in one container may use together.
func ExampleConfig() {
	ctx := context.Background()
	p := newProvider(berth.Config{
		Sharing: berth.Sharing{Tenant: "tenant"},
		ImageFor: func(r naming.Repository) string {
			if r.Owner() == "acme" {
				return "registry.example/acme/tools:3"
			}
			return "" // Config.Image
		},
		Limits: orchestrator.Limits{MemoryBytes: 8 << 30, CPUs: 2, PIDs: 2048, TmpBytes: 2 << 30},
	}, nil)
	defer p.Close()

	for _, task := range []struct{ id, tenant string }{
		{"fix-login", "north"}, {"add-tests", "north"}, {"write-docs", "south"},
	} {
		s, err := p.CreateSession(ctx, berth.SessionRequest{
			TaskID: task.id, UserID: "alice", Repository: "https://github.com/acme/shop",
			Labels: map[string]string{"tenant": task.tenant},
		})
		if err != nil {
			log.Fatal(err)
		}
		fmt.Println(task.tenant, task.id, s.Info().Start, s.Info().Container.Name)
	}
	// Output:
	// north fix-login cold repo-acme-shop-x95xxpy5153g
	// north add-tests attached repo-acme-shop-x95xxpy5153g
	// south write-docs cold repo-acme-shop-bngcj2jvxd0h
}

// OnEvent reports the progress of a session that is being created, interruptions, and the ends of sessions.
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

// A command goes on when its Provider is closed, or its process dies. The next process with the same Store finds the
// session by its TaskID.
func ExampleProvider_Close() {
	ctx := context.Background()
	engine := fake.NewEngine(fake.EngineOptions{Instant: true, Run: func(ctx context.Context, _ fake.Command) int {
		<-ctx.Done() // works until it is killed
		return -9
	}})
	defer engine.Close()
	records := memstore.New() // a backend: a file or a database, which outlives the process
	start := func() (*berth.Provider, *berth.Session) {
		p, err := fake.NewProvider(fake.Options{Engine: engine, Instant: true, Config: berth.Config{Store: records}})
		if err != nil {
			log.Fatal(err)
		}
		s, err := p.CreateSession(ctx, berth.SessionRequest{
			TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop",
		})
		if err != nil {
			log.Fatal(err)
		}
		return p, s
	}

	p, s := start()
	cmd := s.Command(ctx, "agent")
	if err := cmd.Start(); err != nil {
		log.Fatal(err)
	}
	p.Close()
	fmt.Println("out of sight:", errors.Is(cmd.Wait(), berth.ErrClosed))

	p, again := start()
	defer p.Close()
	fmt.Println("same session:", again.ID() == s.ID())
	// Output:
	// out of sight: true
	// same session: true
}

// Destroy ends everything that a pool has. Close leaves it to the next process.
func ExampleProvider_Destroy() {
	ctx := context.Background()
	p := newProvider(berth.Config{}, nil)
	s, err := p.CreateSession(ctx, berth.SessionRequest{
		TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop",
	})
	if err != nil {
		log.Fatal(err)
	}
	if err := p.Destroy(ctx); err != nil {
		log.Fatal(err)
	}
	fmt.Println("ended:", errors.Is(s.Err(), berth.ErrTerminated))
	_, err = p.CreateSession(ctx, berth.SessionRequest{
		TaskID: "add-tests", UserID: "alice", Repository: "https://github.com/acme/shop",
	})
	fmt.Println("closed:", errors.Is(err, berth.ErrClosed))
	// Output:
	// ended: true
	// closed: true
}

// A program depends on ComputeProvider alone. Its unit test passes a Provider over fakes. See examples/hosttest.
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

// A pool on EC2. The README shows this Config; examples/aws is a whole program.
func ExampleNewEC2SharedProvider() {
	ctx := context.Background()
	p, err := berth.NewEC2SharedProvider(ctx, berth.Config{
		Name:         "ci",
		MaxInstances: 5, // every instance that may cost money counts
		InstanceType: "m7i.large",
		Store:        memstore.New(), // required; with this one, no process finds the sessions after a restart
		EC2: berth.EC2Config{
			Subnets:        []string{"subnet-0a…", "subnet-0b…"}, // default: those of the default VPC
			SecurityGroups: []string{"sg-0c…"},
			Spot:           ec2cloud.SpotFirst, // default: on demand
		},
	})
	if err != nil {
		log.Fatal(err) // it lists every problem
	}
	defer p.Destroy(ctx) // ends the instances, too
	fmt.Println(p.Stats().Pool)
}

// What a task has not pushed when its session ends is pushed to a branch of its own, and a later session begins with it.
func ExampleSaveWork() {
	ctx := context.Background()
	p := newProvider(berth.Config{
		SaveWork: berth.SaveToBranch,
		OnEnd: func(ctx context.Context, s *berth.Session, why berth.EndReason) error {
			changes, err := s.Changes(ctx)
			fmt.Println(why, len(changes.Files), "files are not committed")
			return err
		},
	}, nil)
	defer p.Close()

	first := berth.SessionRequest{TaskID: "fix-login", UserID: "alice", Repository: "https://github.com/acme/shop", NewBranch: "fix-login"}
	s, err := p.CreateSession(ctx, first)
	if err != nil {
		log.Fatal(err)
	}
	if err := s.FS(ctx).WriteFile("login.go", []byte("package login\n"), 0o644); err != nil {
		log.Fatal(err)
	}
	if err := p.TerminateSession(ctx, s.ID()); err != nil {
		log.Fatal(err)
	}
	next := berth.SessionRequest{TaskID: "fix-login-2", UserID: "alice", Repository: "https://github.com/acme/shop", Restore: "fix-login"}
	s, err = p.CreateSession(ctx, next)
	if err != nil {
		log.Fatal(err)
	}
	content, err := s.FS(ctx).ReadFile("login.go")
	fmt.Printf("%s %q %v\n", s.Info().Branch, content, err)
	// Output:
	// terminated 1 files are not committed
	// fix-login "package login\n" <nil>
}
