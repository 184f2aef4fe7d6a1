package command_test

import (
	"context"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
)

// TestWhatComesAfterTheEnd: a context or session that ends after the program does not change the result of Wait.
func TestWhatComesAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(w *world.World, s *berth.Session, cancel func()){
		"of the context": func(w *world.World, s *berth.Session, cancel func()) { cancel() },
		"of the session": func(w *world.World, s *berth.Session, cancel func()) { w.Terminate(s) },
	} {
		t.Run(name, func(t *testing.T) {
			world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
				ctx, cancel := context.WithCancel(t.Context())
				ok, fails, dies := s.Command(ctx, "true"), s.Command(ctx, "fail"), s.Command(ctx, "signal")
				world.Start(t, ok)
				world.Start(t, fails)
				world.Start(t, dies)
				world.After(time.Minute)
				end(w, s, cancel)
				world.After(time.Minute)
				if err := ok.Wait(); err != nil || ok.ExitCode != 0 {
					t.Errorf("Wait: %v, exit code %d", err, ok.ExitCode)
				}
				world.WantExit(t, fails, fails.Wait(), 3, 0)
				world.WantExit(t, dies, dies.Wait(), -1, 15)
			})
		})
	}
}

// TestContextThatEndsWhileStreamsAreCopied: the program has ended before its context.
func TestContextThatEndsWhileStreamsAreCopied(t *testing.T) {
	world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
		ctx, cancel := context.WithCancel(t.Context())
		slow, input := io.Pipe()
		cmd := s.Command(ctx, "fail")
		cmd.Stdin = slow
		world.Start(t, cmd)
		world.After(time.Minute)
		cancel()
		time.AfterFunc(3*time.Second, func() { input.Close() })
		world.WantExit(t, cmd, cmd.Wait(), 3, 0)
	})
}

// stuckStore does not answer while it is stuck, like a database behind a broken network.
type stuckStore struct {
	store.Store
	stuck atomic.Bool
}

func (s *stuckStore) View(ctx context.Context, fn func(store.View) error) error {
	if s.stuck.Load() {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return s.Store.View(ctx, fn)
}

func (s *stuckStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	if s.stuck.Load() {
		<-ctx.Done()
		return context.Cause(ctx)
	}
	return s.Store.Update(ctx, keys, fn)
}

// TestWaitWhileTheStoreIsStuck: Wait still returns within five seconds after the end of its context.
func TestWaitWhileTheStoreIsStuck(t *testing.T) {
	for _, name := range []string{"signal", "sleep"} {
		t.Run(name, func(t *testing.T) {
			world.RunShell(t, func(t *testing.T, w *world.World, s *berth.Session) {
				records := &stuckStore{Store: w.Store}
				s = world.Get(t, w.NewProviderOn(records), s.ID())
				ctx, cancel := context.WithCancel(t.Context())
				cmd := s.Command(ctx, name)
				world.Start(t, cmd)
				records.stuck.Store(true)
				defer records.stuck.Store(false)
				if name == "signal" {
					synctest.Wait()
				}
				cancel()
				took := took(t)
				if err := cmd.Wait(); err == nil {
					t.Error("Wait returned nil")
				}
				took("Wait", 0, 6*time.Second)
				time.Sleep(time.Minute) // virtual time goes on only if no goroutine waits for a mutex
			})
		})
	}
}
