package command

import (
	"context"
	"errors"
	"slices"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/orchestrator"
)

// A session is a Host, the connection to its container, and the only process in it.
type session struct {
	orchestrator.Inside
	orchestrator.Process
	refused error // of Start
	exit    agent.Exit
	over    chan struct{} // closed when the process ends by itself
	kill    func() error
	ended   func(agent.Exit, error) // Ended of the agent.Command

	all   sync.WaitGroup // of Go
	mu    sync.Mutex     // protects calls
	calls []string       // what the Host was asked for
}

func (s *session) called(what string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.calls = append(s.calls, what)
}

func (s *session) ID() string { return "s" }

func (s *session) Use(_ context.Context, start func(orchestrator.Inside, func()) error) error {
	return start(s, func() { s.called("release") })
}

func (s *session) Explain(_ context.Context, err error) error {
	s.called("explain")
	return err
}

func (s *session) Go(fn func()) { s.all.Go(fn) }

func (s *session) Ended(err error) {
	if err != nil {
		s.called("ended: " + err.Error())
		return
	}
	s.called("ended")
}

func (s *session) Report(_ context.Context, what string, err error) {
	s.called(what + ": " + err.Error())
}

func (s *session) Start(_ context.Context, c agent.Command) (orchestrator.Process, error) {
	s.ended = c.Ended
	return s, s.refused
}

func (s *session) Wait() (agent.Exit, error) {
	<-s.over
	s.ended(s.exit, nil)
	return s.exit, nil
}

func (s *session) Kill(context.Context) error { return s.kill() }

// TestHost holds what a command asks of its Host, and in which order: a lease that is never released keeps its session
// for ever.
func TestHost(t *testing.T) {
	for name, c := range map[string]struct {
		s     *session
		err   string // of Start or Wait
		calls []string
	}{
		"success": {&session{}, "", []string{"ended", "release"}},
		"failure": {&session{exit: agent.Exit{Code: 3}}, "exit {Code:3 ", []string{"ended: exit", "release"}},
		"signal":  {&session{exit: agent.Exit{Code: -1, Signal: 9}}, "exit {Code:-1 ", []string{"explain", "ended: exit", "release"}},
		"refused": {&session{refused: errors.New("no")}, `session s: "true": no`, []string{"release", "explain"}},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c.s.over = make(chan struct{})
				close(c.s.over)
				cmd := New(t.Context(), c.s, newExitError)
				err := cmd.Start(Spec{Args: []string{"true"}})
				if err == nil {
					_, err = cmd.Wait()
				}
				c.s.all.Wait()
				if (err == nil) != (c.err == "") || err != nil && !strings.HasPrefix(err.Error(), c.err) {
					t.Errorf("%v, want %q", err, c.err)
				}
				if !slices.EqualFunc(c.s.calls, c.calls, strings.HasPrefix) {
					t.Errorf("the Host was asked for %q, want %q", c.s.calls, c.calls)
				}
			})
		})
	}
}

// TestKillOutOfReach kills a command whose host cannot be reached for an hour: it is killed then, and Wait does not wait
// for that.
func TestKillOutOfReach(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		s := &session{over: make(chan struct{}), exit: agent.Exit{Code: -1, Signal: 9}}
		s.kill = func() error {
			if time.Since(begin) < time.Hour {
				return errors.New("out of reach")
			}
			close(s.over)
			return nil
		}
		ctx, cancel := context.WithCancelCause(t.Context())
		cmd := New(ctx, s, newExitError)
		if err := cmd.Start(Spec{Args: []string{"sleep"}}); err != nil {
			t.Fatal(err)
		}
		enough := errors.New("enough")
		cancel(enough)
		code, err := cmd.Wait()
		if took := time.Since(begin); code != -1 || !errors.Is(err, enough) || errors.Is(err, errs.ErrOutputCut) || took != cancelGrace {
			t.Errorf("Wait: %d, %v after %v", code, err, took)
		}
		s.all.Wait()
		if took := time.Since(begin); took < time.Hour || took > time.Hour+killPause {
			t.Errorf("it was killed after %v", took)
		}
		if want := []string{"cannot kill a command: out of reach", "release", "ended: enough"}; !slices.Equal(s.calls, want) {
			t.Errorf("the Host was asked for %q, want %q", s.calls, want)
		}
	})
}
