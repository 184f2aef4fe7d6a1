package berth_test

import (
	"context"
	"errors"
	"fmt"
	"log"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// ScopeFor keeps tenants apart, ImageFor gives a repository the tools that it needs, and Limits bound what all the tasks
// in one container may use together.
func ExampleConfig() {
	ctx := context.Background()
	p := newProvider(berth.Config{
		ScopeFor: func(r berth.SessionRequest) string { return r.Labels["tenant"] },
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
	// north fix-login cold repo-acme-shop-pbqx8jr1w6mt
	// north add-tests attached repo-acme-shop-pbqx8jr1w6mt
	// south write-docs cold repo-acme-shop-xe28cqj8b3v8
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

// Destroy ends all that a pool has, where Close leaves it to the next process.
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
