package session_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// pausedStore is the store of a process that can be paused. An Update of a paused process happens when the process goes
// on, even if its context has ended.
type pausedStore struct {
	store.Store
	until atomic.Pointer[time.Time]
}

func (s *pausedStore) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	if until := s.until.Load(); until != nil && time.Now().Before(*until) {
		time.Sleep(time.Until(*until))
		ctx = context.WithoutCancel(ctx)
	}
	return s.Store.Update(ctx, keys, fn)
}

// pausing makes a Provider of a process that can be paused. Its engine is the world's, or the one that engine returns.
func pausing(w *world.World, engine func(until *atomic.Pointer[time.Time]) orchestrator.Engine) (*berth.Provider, *atomic.Pointer[time.Time]) {
	w.T.Helper()
	paused := &pausedStore{Store: w.Store}
	cfg := w.Config
	cfg.Cloud, cfg.Engine, cfg.Store = w.Cloud, w.Engine, paused
	if engine != nil {
		cfg.Engine = engine(&paused.until)
	}
	p, err := berth.New(w.T.Context(), cfg)
	if err != nil {
		w.T.Fatal(err)
	}
	w.T.Cleanup(func() { p.Close() })
	return p, &paused.until
}

// TestProcessThatWasPausedGivesNoUIDOut: meanwhile another process took over ending the session, and is about to kill
// the processes of its uid.
func TestProcessThatWasPausedGivesNoUIDOut(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Create("other", world.RepoA) // the container stays
		zombie, pause := pausing(w, nil)
		s := world.Create(t, zombie, world.Request("t", world.RepoA))

		w.Engine.Next(fake.CloseSession, 1, fake.Fault{Delay: time.Second})
		w.Engine.Next(fake.CloseSession, 1, fake.Fault{Delay: time.Minute}) // by the process that takes over
		ended := make(chan error)
		go func() { ended <- zombie.TerminateSession(t.Context(), s.ID()) }()
		time.Sleep(500 * time.Millisecond) // the end is stored, and is under way
		until := time.Now().Add(40 * time.Second)
		pause.Store(&until)
		time.Sleep(45 * time.Second)
		for range 254 { // until every other uid has been given out
			w.Terminate(w.Create("passing", world.RepoA))
		}
		w.Create("next", world.RepoA)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		world.After(time.Minute)
		c := w.Engine.Containers()
		if len(c) != 1 || len(c[0].Sessions) != 2 {
			t.Errorf("left of two sessions: %+v", c)
		}
	})
}

// TestProcessThatWasPausedForgetsNoContainer: meanwhile another process took over the removal of the container, and is
// about to remove it by name. No new container may have that name by then.
func TestProcessThatWasPausedForgetsNoContainer(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Terminate(w.Create("warm", world.RepoB))
		zombie, pause := pausing(w, nil)
		s := world.Create(t, zombie, world.Request("t", world.RepoA))
		w.Engine.Next(fake.Remove, 1, fake.Fault{Delay: time.Second})
		w.Engine.Next(fake.Remove, 1, fake.Fault{Delay: 25 * time.Second}) // by the process that takes over
		ended := make(chan error)
		go func() { ended <- zombie.TerminateSession(t.Context(), s.ID()) }()
		time.Sleep(500 * time.Millisecond)
		until := time.Now().Add(25 * time.Second)
		pause.Store(&until)
		time.Sleep(26 * time.Second)
		checkNext(t, w, ended)
	})
}

// checkNext creates a session of RepoA. It fails the test unless the end of the paused process's session succeeds and leaves
// the new session alone.
func checkNext(t *testing.T, w *world.World, ended <-chan error) {
	t.Helper()
	next := w.Create("next", world.RepoA)
	if err := <-ended; err != nil {
		t.Error(err)
	}
	world.After(time.Minute)
	select {
	case <-next.Done():
		t.Error(next.Err())
	default:
	}
	w.Terminate(next)
	w.Empty()
}

// lateEngine is an engine whose Open and Remove can be paused just before they reach the agent and the engine.
type (
	lateEngine struct {
		orchestrator.Engine
		until *atomic.Pointer[time.Time]
	}
	lateHost struct {
		orchestrator.Host
		until *atomic.Pointer[time.Time]
	}
	lateInside struct {
		orchestrator.Inside
		until *atomic.Pointer[time.Time]
	}
)

func (e lateEngine) Connect(ctx context.Context, at orchestrator.Endpoint) (orchestrator.Host, error) {
	h, err := e.Engine.Connect(ctx, at)
	if err != nil {
		return nil, err
	}
	return lateHost{h, e.until}, nil
}

func (h lateHost) Attach(ctx context.Context, container string) (orchestrator.Inside, error) {
	in, err := h.Host.Attach(ctx, container)
	if err != nil {
		return nil, err
	}
	return lateInside{in, h.until}, nil
}

func (h lateHost) Remove(ctx context.Context, name, id string) error {
	if until := h.until.Load(); until != nil && time.Now().Before(*until) {
		time.Sleep(time.Until(*until))
		ctx = context.WithoutCancel(ctx)
	}
	return h.Host.Remove(ctx, name, id)
}

func (i lateInside) Open(ctx context.Context, s agent.Session) (agent.Checkout, error) {
	if until := i.until.Load(); until != nil && time.Now().Before(*until) {
		time.Sleep(time.Until(*until))
		ctx = context.WithoutCancel(ctx)
	}
	return i.Inside.Open(ctx, s)
}

// TestProcessThatWasPausedLeavesNoCheckout: meanwhile another process ended the session, when it had no checkout to
// remove yet.
func TestProcessThatWasPausedLeavesNoCheckout(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Create("holds", world.RepoA)
		zombie, pause := pausing(w, func(until *atomic.Pointer[time.Time]) orchestrator.Engine { return lateEngine{w.Engine, until} })
		time.Sleep(2 * time.Minute) // the mirror is old: it is fetched first
		w.Engine.Next(fake.Fetch, 1, fake.Fault{Delay: time.Second})
		c := world.Creating(t.Context(), zombie, world.Request("t", world.RepoA))
		time.Sleep(500 * time.Millisecond)
		until := time.Now().Add(40 * time.Second)
		pause.Store(&until)
		if r := <-c; r.Err == nil {
			t.Error("a session that another process ended was created")
		}
		world.After(time.Minute)
		if c := w.Engine.Containers(); len(c) != 1 || len(c[0].Sessions) != 1 {
			t.Errorf("left of one session: %+v", c)
		}
	})
}

// TestProcessThatWasPausedRemovesNoLaterContainer: meanwhile another process removed the container, and a new one has
// its name.
func TestProcessThatWasPausedRemovesNoLaterContainer(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Terminate(w.Create("warm", world.RepoB))
		var late atomic.Pointer[time.Time]
		zombie, pause := pausing(w, func(*atomic.Pointer[time.Time]) orchestrator.Engine { return lateEngine{w.Engine, &late} })
		s := world.Create(t, zombie, world.Request("t", world.RepoA))
		until := time.Now().Add(40 * time.Second)
		late.Store(&until)
		ended := make(chan error)
		go func() { ended <- zombie.TerminateSession(t.Context(), s.ID()) }()
		for len(w.OpenSessions()) > 0 {
			time.Sleep(time.Millisecond)
		}
		pause.Store(&until) // its end is stored, and the removal of its container is next
		time.Sleep(30 * time.Second)
		checkNext(t, w, ended)
	})
}
