package errs_test

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

func TestEnded(t *testing.T) {
	for _, c := range []struct {
		end  store.Failure
		want []error // all match
		text string
	}{
		{store.Failure{Reason: store.EndTerminated}, []error{errs.ErrTerminated}, "berth: the session was terminated"},
		{store.Failure{Reason: store.EndExpired}, []error{errs.ErrExpired}, "berth: the session expired"},
		{store.Failure{Reason: store.EndInstanceLost, Message: "interrupted"}, []error{errs.ErrInstanceLost}, "berth: the instance was lost: interrupted"},
		{store.Failure{Reason: store.EndContainerLost}, []error{errs.ErrContainerLost}, "berth: the container was lost"},
		{store.Failure{Reason: store.EndContainerLost, Cause: errs.CauseOutOfMemory, Message: "no memory"},
			[]error{errs.ErrContainerLost, errs.ErrOutOfMemory}, "berth: the container was lost: no memory"},
		{store.Failure{Reason: store.EndAbandoned}, []error{errs.ErrAbandoned}, "berth: the session was abandoned"},
		{store.Failure{Reason: store.EndRevoked}, []error{errs.ErrRevoked}, "berth: the user's access was revoked"},
		{store.Failure{Reason: store.EndOverLimit, Message: "disk: used 2 GiB of 1 GiB"}, []error{errs.ErrOverLimit},
			"berth: the session used more than it may: disk: used 2 GiB of 1 GiB"},
		{store.Failure{Reason: store.EndCancelled, Message: "by its creator"}, []error{errs.ErrTerminated}, "berth: the session was terminated: by its creator"},
		{store.Failure{Reason: "of a newer version"}, []error{errs.ErrTerminated}, "berth: the session was terminated"},
	} {
		err := errs.Ended(&store.Session{End: c.end}, func(errs.StartError) error { return errors.New("start") })
		if err.Error() != c.text {
			t.Errorf("%v: %v", c.end, err)
		}
		for _, want := range c.want {
			if !errors.Is(err, want) {
				t.Errorf("%v: %v is not %v", c.end, err, want)
			}
		}
		if lost := errors.Is(err, errs.ErrOutOfMemory); lost != (len(c.want) > 1) {
			t.Errorf("%v: out of memory: %v", c.end, lost)
		}
		if !errs.IsEnd(err) {
			t.Errorf("%v: %v is no end", c.end, err)
		}
	}
}

func TestEndedOfAFailedStart(t *testing.T) {
	repository := naming.Repository{Host: "host.xz", Path: "o/r"}
	for cause, want := range errs.Causes {
		s := &store.Session{TaskID: "t", End: store.Failure{
			Reason: store.EndStartFailed, Phase: store.PhaseFetching, Cause: cause, Message: "it failed",
		}}
		s.SharingKey.Repository = repository
		var got errs.StartError
		made := errors.New("made")
		if err := errs.Ended(s, func(e errs.StartError) error { got = e; return made }); err != made {
			t.Errorf("%s: %v", cause, err)
		}
		if got.Phase != store.PhaseFetching || got.TaskID != "t" || got.Repository != repository {
			t.Errorf("%s: %+v", cause, got)
		}
		if !errors.Is(got.Err, want) || got.Err.Error() != "it failed" {
			t.Errorf("%s: %v, want %v", cause, got.Err, want)
		}
	}
}

func TestIsEnd(t *testing.T) {
	for err, want := range map[error]bool{
		nil:                     false,
		errs.ErrSessionNotFound: true,
		fmt.Errorf("session s: %w", errs.ErrContainerLost): true,
		errs.ErrUnavailable:     false,
		errs.ErrSessionStarting: false,
		errs.ErrClosed:          false,
	} {
		if got := errs.IsEnd(err); got != want {
			t.Errorf("IsEnd(%v) is %v", err, got)
		}
	}
}

func TestContainerLost(t *testing.T) {
	if err := errs.ContainerLost(agent.ErrGone); err != errs.ErrContainerLost {
		t.Error(err)
	}
	err := errs.ContainerLost(fmt.Errorf("%w, %w", agent.ErrGone, agent.ErrOutOfMemory))
	if !errors.Is(err, errs.ErrContainerLost) || !errors.Is(err, errs.ErrOutOfMemory) {
		t.Error(err)
	}
	if err.Error() != errs.ErrContainerLost.Error() {
		t.Error(err)
	}
}

func TestUnavailable(t *testing.T) {
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	refused := errors.New("connection refused")
	for _, c := range []struct {
		ctx   context.Context
		err   error
		named bool // as unavailable
	}{
		{t.Context(), refused, true},
		{t.Context(), fmt.Errorf("dial: %w", refused), true},
		{ended, refused, false},
		{t.Context(), agent.ErrGone, false},
		{t.Context(), agent.ErrClosed, false},
		{t.Context(), fmt.Errorf("session: %w", agent.ErrUnknownSession), false},
		{t.Context(), agent.ErrIncompatible, false},
		{t.Context(), orchestrator.ErrWrongHost, false},
		{t.Context(), &orchestrator.StartFailure{Phase: store.PhaseStarting, Err: refused}, false},
	} {
		err := errs.Unavailable(c.ctx, c.err)
		if !errors.Is(err, c.err) || errors.Is(err, errs.ErrUnavailable) != c.named || !c.named && err != c.err {
			t.Errorf("%v: %v", c.err, err)
		}
	}
	twice := errs.Unavailable(t.Context(), errs.Unavailable(t.Context(), refused))
	if want := "berth: unavailable: connection refused"; twice.Error() != want {
		t.Errorf("named twice: %v", twice)
	}
}
