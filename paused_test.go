package berth_test

import (
	"context"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// pausedStore is a store whose user can be paused: what it is about to write is written when it goes on, whatever has
// become of its context.
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

// pausing makes a provider that can be paused, with an engine that is like the world's own.
func (w *world) pausing(engine func(until *atomic.Pointer[time.Time]) orchestrator.Engine) (*berth.Provider, *atomic.Pointer[time.Time]) {
	w.t.Helper()
	paused := &pausedStore{Store: w.store}
	cfg := w.cfg
	cfg.Cloud, cfg.Engine, cfg.Store = w.cloud, engine(&paused.until), paused
	p, err := berth.New(w.t.Context(), cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() { p.Close() })
	return p, &paused.until
}

// sameEngine is for those whose calls of the engine go through while they are paused.
func (w *world) sameEngine(*atomic.Pointer[time.Time]) orchestrator.Engine { return w.engine }

// TestProcessThatWasPausedGivesNoUIDOut: another one took over the end of a session meanwhile, and is about to kill
// what runs under its uid.
func TestProcessThatWasPausedGivesNoUIDOut(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		w.create("other", repoA) // the container stays
		zombie, pause := w.pausing(w.sameEngine)
		s, err := zombie.CreateSession(t.Context(), asking("t", repoA))
		if err != nil {
			t.Fatal(err)
		}

		w.engine.Next(fake.CloseSession, 1, fake.Fault{Delay: time.Second})
		w.engine.Next(fake.CloseSession, 1, fake.Fault{Delay: time.Minute}) // of the one who takes over
		ended := make(chan error)
		go func() { ended <- zombie.TerminateSession(t.Context(), s.ID()) }()
		time.Sleep(500 * time.Millisecond) // the end is stored, and is under way
		until := time.Now().Add(40 * time.Second)
		pause.Store(&until)
		time.Sleep(45 * time.Second)
		for range 254 { // until the uid of the session comes again
			w.terminate(w.create("passing", repoA))
		}
		w.create("next", repoA)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		after(time.Minute)
		c := w.engine.Containers()
		if len(c) != 1 || len(c[0].Sessions) != 2 {
			t.Errorf("of two sessions are left: %+v", c)
		}
	})
}

// TestProcessThatWasPausedForgetsNoContainer: another one took over its removal meanwhile, and is about to remove it by
// its name, which must not be that of a new container by then.
func TestProcessThatWasPausedForgetsNoContainer(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		w.terminate(w.create("warm", repoB))
		zombie, pause := w.pausing(w.sameEngine)
		s, err := zombie.CreateSession(t.Context(), asking("t", repoA))
		if err != nil {
			t.Fatal(err)
		}
		w.engine.Next(fake.Remove, 1, fake.Fault{Delay: time.Second})
		w.engine.Next(fake.Remove, 1, fake.Fault{Delay: 25 * time.Second}) // of the one who takes over
		ended := make(chan error)
		go func() { ended <- zombie.TerminateSession(t.Context(), s.ID()) }()
		time.Sleep(500 * time.Millisecond)
		until := time.Now().Add(25 * time.Second)
		pause.Store(&until)
		time.Sleep(26 * time.Second)
		next := w.create("next", repoA)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		after(time.Minute)
		select {
		case <-next.Done():
			t.Error(next.Err())
		default:
		}
		w.terminate(next)
		w.empty()
	})
}

// An engine whose Open and Remove can be paused, just before they reach the agent and the engine.
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

// TestProcessThatWasPausedLeavesNoCheckout: another one ended the session meanwhile, before there was anything to close.
func TestProcessThatWasPausedLeavesNoCheckout(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		w.create("holds", repoA)
		zombie, pause := w.pausing(func(until *atomic.Pointer[time.Time]) orchestrator.Engine { return lateEngine{w.engine, until} })
		time.Sleep(2 * time.Minute) // the mirror is old: it is fetched first
		w.engine.Next(fake.Fetch, 1, fake.Fault{Delay: time.Second})
		c := w.creating(t.Context(), zombie, asking("t", repoA))
		time.Sleep(500 * time.Millisecond)
		until := time.Now().Add(40 * time.Second)
		pause.Store(&until)
		if r := <-c; r.err == nil {
			t.Error("a session that another process ended was created")
		}
		after(time.Minute)
		if c := w.engine.Containers(); len(c) != 1 || len(c[0].Sessions) != 1 {
			t.Errorf("of one session are left: %+v", c)
		}
	})
}

// TestProcessThatWasPausedRemovesNoLaterContainer: another one removed the container meanwhile, and a new one has its
// name.
func TestProcessThatWasPausedRemovesNoLaterContainer(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		w.terminate(w.create("warm", repoB))
		var late atomic.Pointer[time.Time]
		zombie, pause := w.pausing(func(*atomic.Pointer[time.Time]) orchestrator.Engine { return lateEngine{w.engine, &late} })
		s, err := zombie.CreateSession(t.Context(), asking("t", repoA))
		if err != nil {
			t.Fatal(err)
		}
		until := time.Now().Add(40 * time.Second)
		late.Store(&until)
		ended := make(chan error)
		go func() { ended <- zombie.TerminateSession(t.Context(), s.ID()) }()
		for len(w.alive()) > 0 {
			time.Sleep(time.Millisecond)
		}
		pause.Store(&until) // its end is stored, and the removal of its container is next
		time.Sleep(30 * time.Second)
		next := w.create("next", repoA)
		if err := <-ended; err != nil {
			t.Error(err)
		}
		after(time.Minute)
		select {
		case <-next.Done():
			t.Error(next.Err())
		default:
		}
		w.terminate(next)
		w.empty()
	})
}
