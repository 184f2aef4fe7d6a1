package fake_test

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/store/memstore"
)

// started starts a command in a new session, whose Wait is called in the background.
func started(t *testing.T, p *berth.Provider) *berth.Session {
	t.Helper()
	s, err := p.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "u", Repository: "https://github.com/acme/shop"})
	if err != nil {
		t.Fatal(err)
	}
	cmd := s.Command(context.Background(), "agent")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	go cmd.Wait()
	return s
}

// TestATestMayEndWhileACommandRuns: a bubble in which a goroutine is left blocked panics, so that each case must end all.
func TestATestMayEndWhileACommandRuns(t *testing.T) {
	for name, run := range map[string]func(ctx context.Context, c fake.Command) int{
		"waits to be killed": func(ctx context.Context, _ fake.Command) int { <-ctx.Done(); return -9 },
		"sleeps":             func(context.Context, fake.Command) int { time.Sleep(20 * time.Minute); return 0 },
		"writes": func(_ context.Context, c fake.Command) int {
			for {
				if _, err := c.Stdout.Write([]byte("line\n")); err != nil {
					return 1
				}
				time.Sleep(time.Second)
			}
		},
	} {
		for world, options := range map[string]func() fake.Options{
			"all is made by NewProvider": func() fake.Options { return fake.Options{Run: run} },
			"an Engine of the test": func() fake.Options {
				return fake.Options{Engine: fake.NewEngine(fake.EngineOptions{Run: run})}
			},
			"an Engine of the test, for one caller": func() fake.Options {
				return fake.Options{Config: berth.Config{Engine: fake.NewEngine(fake.EngineOptions{Run: run}).As("a")}}
			},
			"a Store of the test": func() fake.Options {
				return fake.Options{Run: run, Config: berth.Config{Store: memstore.New()}}
			},
		} {
			for end, close := range map[string]func(*berth.Provider) error{
				"Close":   (*berth.Provider).Close,
				"Destroy": func(p *berth.Provider) error { return p.Destroy(context.Background()) },
			} {
				t.Run(name+"/"+world+"/"+end, func(t *testing.T) {
					synctest.Test(t, func(t *testing.T) {
						p, err := fake.NewProvider(options())
						if err != nil {
							t.Fatal(err)
						}
						started(t, p)
						if err := close(p); err != nil {
							t.Error(err)
						}
					})
				})
			}
		}
	}
}

// TestCommandsWaitForTheNextProvider: where both the Engine and the Store are the test's, the next Provider is a backend
// that was started again.
func TestCommandsWaitForTheNextProvider(t *testing.T) {
	for end, finish := range map[string]func(*berth.Provider, *fake.Engine) error{
		"Destroy":      func(p *berth.Provider, _ *fake.Engine) error { return p.Destroy(context.Background()) },
		"Engine.Close": func(p *berth.Provider, e *fake.Engine) error { return errors.Join(p.Close(), e.Close()) },
	} {
		t.Run(end, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var killed bool
				cloud := fake.NewCloud(fake.CloudOptions{})
				engine := fake.NewEngine(fake.EngineOptions{Cloud: cloud, Run: func(ctx context.Context, c fake.Command) int {
					<-ctx.Done()
					killed = true
					return -9
				}})
				opts := fake.Options{Cloud: cloud, Engine: engine, Config: berth.Config{Store: memstore.New()}}
				first, err := fake.NewProvider(opts)
				if err != nil {
					t.Fatal(err)
				}
				s := started(t, first)
				if err := first.Close(); err != nil {
					t.Fatal(err)
				}
				second, err := fake.NewProvider(opts)
				if err != nil {
					t.Fatal(err)
				}
				time.Sleep(3 * time.Hour) // the command keeps its session alive
				if again, err := second.GetSession(t.Context(), s.ID()); err != nil || again.Info().State != berth.SessionActive || killed {
					t.Errorf("after the restart: %v, the command is killed: %v", err, killed)
				}
				if err := finish(second, engine); err != nil {
					t.Error(err)
				}
				synctest.Wait()
				if !killed {
					t.Error("the command goes on")
				}
			})
		})
	}
}

// TestCloseDoesNotWaitForEver: a function that heeds nothing is let go in the end, so that a deferred close of what it
// waits for is reached.
func TestCloseDoesNotWaitForEver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		release := make(chan struct{})
		defer close(release)
		p, err := fake.NewProvider(fake.Options{Run: func(context.Context, fake.Command) int { <-release; return 0 }})
		if err != nil {
			t.Fatal(err)
		}
		defer p.Close()
		started(t, p)
	})
}
