package berth_test

import (
	"context"
	"errors"
	"io"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/store"
)

// wantExit fails the test unless an error is that of a program which ended so.
func wantExit(t *testing.T, cmd *berth.Cmd, err error, code, signal int) {
	t.Helper()
	failure, ok := errors.AsType[*berth.ExitError](err)
	if !ok || failure.Code != code || failure.Signal != signal || cmd.ExitCode != code {
		t.Errorf("Wait: %v, exit code %d; want exit code %d, signal %d", err, cmd.ExitCode, code, signal)
	}
}

// TestWhatComesAfterTheEnd: whatever ends between the program's end and Wait has not ended the program.
func TestWhatComesAfterTheEnd(t *testing.T) {
	for name, end := range map[string]func(w *world, s *berth.Session, cancel func()){
		"of the context": func(w *world, s *berth.Session, cancel func()) { cancel() },
		"of the session": func(w *world, s *berth.Session, cancel func()) { w.terminate(s) },
	} {
		t.Run(name, func(t *testing.T) {
			inShell(t, func(t *testing.T, w *world, s *berth.Session) {
				ctx, cancel := context.WithCancel(t.Context())
				ok, fails, dies := s.Command(ctx, "true"), s.Command(ctx, "fail"), s.Command(ctx, "signal")
				start(t, ok)
				start(t, fails)
				start(t, dies)
				after(time.Minute)
				end(w, s, cancel)
				after(time.Minute)
				if err := ok.Wait(); err != nil || ok.ExitCode != 0 {
					t.Errorf("Wait: %v, exit code %d", err, ok.ExitCode)
				}
				wantExit(t, fails, fails.Wait(), 3, 0)
				wantExit(t, dies, dies.Wait(), -1, 15)
			})
		})
	}
}

// TestContextThatEndsWhileStreamsAreCopied: the program has ended before.
func TestContextThatEndsWhileStreamsAreCopied(t *testing.T) {
	inShell(t, func(t *testing.T, w *world, s *berth.Session) {
		ctx, cancel := context.WithCancel(t.Context())
		slow, input := io.Pipe()
		cmd := s.Command(ctx, "fail")
		cmd.Stdin = slow
		start(t, cmd)
		after(time.Minute)
		cancel()
		time.AfterFunc(3*time.Second, func() { input.Close() })
		wantExit(t, cmd, cmd.Wait(), 3, 0)
	})
}

// stuckStore does not answer while it is stuck, as a database behind a broken network.
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

// TestWaitWhileTheStoreIsStuck: once the context has ended, Wait keeps to its five seconds all the same.
func TestWaitWhileTheStoreIsStuck(t *testing.T) {
	for _, name := range []string{"signal", "sleep"} {
		t.Run(name, func(t *testing.T) {
			inShell(t, func(t *testing.T, w *world, s *berth.Session) {
				records := &stuckStore{Store: w.store}
				w.store = records
				s, err := w.provider().GetSession(t.Context(), s.ID())
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				cmd := s.Command(ctx, name)
				start(t, cmd)
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
				time.Sleep(time.Minute) // time goes on in a bubble: nothing waits for a lock
			})
		})
	}
}
