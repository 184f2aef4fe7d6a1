package dockerengine_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent"
)

func TestProbeSaysWhichStepFailed(t *testing.T) {
	for hang, says := range map[string]string{
		"ping": "it was sent a ping",
		"list": "it was asked for its containers", "c1": "it was asked about a container: c1",
	} {
		t.Run(hang, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				s := newStub(t)
				s.containers = []string{"c1"}
				h := s.connect(t)
				if err := h.Probe(t.Context()); err != nil {
					t.Fatal(err)
				}
				s.set(func() { s.hang[hang] = true })
				ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
				defer cancel()
				err := h.Probe(ctx)
				if err == nil || !strings.Contains(err.Error(), says) || !strings.Contains(err.Error(), "does not answer in time") {
					t.Errorf("the error is %v; want one that says %q", err, says)
				}
			})
		})
	}
}

// TestEngineThatDoesNotSayWhoItIs is about Docker 20.10, which does not answer that while it looks up the address of a
// registry.
func TestEngineThatDoesNotSayWhoItIs(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStub(t)
		h := s.connect(t)
		s.set(func() { s.hang["info"] = true })
		ctx, cancel := context.WithTimeout(t.Context(), 8*time.Second)
		defer cancel()
		if err := h.Probe(ctx); err != nil {
			t.Errorf("it does all else: %v", err)
		}
	})
}

func TestContainerThatHangsDoesNotFailItsEngine(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStub(t)
		s.containers = []string{"c1", "c2", "c3"}
		s.hang["c1"] = true
		h := s.connect(t)
		for range 3 {
			if err := h.Probe(t.Context()); err != nil {
				t.Errorf("one of three containers hangs: %v", err)
			}
		}
		if n := s.times("inspect c1"); n != 1 {
			t.Errorf("the one that hangs was asked about %d times", n)
		}
		s.set(func() { s.hang["c2"], s.hang["c3"] = true, true })
		if err := h.Probe(t.Context()); err == nil {
			t.Error("all containers hang, and the probe succeeds")
		}
		s.set(func() { s.containers = nil })
		if err := h.Probe(t.Context()); err != nil {
			t.Errorf("there is no container: %v", err)
		}
	})
}

func TestGhostIsGone(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newStub(t)
		s.containers, s.ghost = []string{"c"}, true
		h := s.connect(t)
		began := time.Now()
		_, err := h.Attach(t.Context(), "c")
		if took := time.Since(began); !errors.Is(err, agent.ErrGone) || took < 10*time.Second || took > 15*time.Second {
			t.Errorf("attaching to a container without processes: %v, after %v", err, took)
		}
		// A container that only refuses a program is not a ghost.
		s.set(func() { s.ghost = false })
		if _, err := h.Attach(t.Context(), "c"); err == nil || errors.Is(err, agent.ErrGone) {
			t.Errorf("attaching to a container in which nothing can be started: %v", err)
		}
	})
}
