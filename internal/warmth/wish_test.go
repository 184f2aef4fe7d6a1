package warmth_test

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
)

// warmCfg is a pool with one instance, which stays. What no host wants goes at once.
func warmCfg(containers, perInstance int) berth.Config {
	return berth.Config{
		MinInstances: 1, MaxTasksPerInstance: 4, ContainerIdleTimeout: time.Second,
		Warm: berth.Warm{Containers: containers, PerInstance: perInstance},
	}
}

// runWarm is run, when the instance is up.
func runWarm(t *testing.T, cfg berth.Config, test func(t *testing.T, w *world.World)) {
	t.Helper()
	run(t, cfg, func(t *testing.T, w *world.World) {
		time.Sleep(3 * time.Minute)
		test(t, w)
	})
}

// warm calls Warm, which must succeed, and waits until what it begins is done.
func warm(w *world.World, p *berth.Provider, repo, branch string, d time.Duration) {
	w.T.Helper()
	if err := p.Warm(w.T.Context(), repo, branch, time.Now().Add(d)); err != nil {
		w.T.Fatal(err)
	}
	world.After(30 * time.Second)
}

// warmed returns the names of the repositories that EventContainerWarm told of, and how it was.
func warmed(w *world.World) (all []string) {
	for _, e := range w.Events(berth.EventContainerWarm) {
		all = append(all, fmt.Sprint(e.Repository.Name(), " ", e.Err != nil))
	}
	return all
}

func TestWarmBringsUpAContainerBeforeItsFirstSession(t *testing.T) {
	runWarm(t, warmCfg(2, 0), func(t *testing.T, w *world.World) {
		warm(w, w.Provider, world.RepoA, "", time.Hour)
		if got := states(t, w)["rocket"]; got != "empty" || len(warmed(w)) != 1 || w.Stats().KeptWarm != 1 {
			t.Errorf("it is %q, %q, %+v", got, warmed(w), w.Stats())
		}
		if got := touch(w, "t", world.RepoA); got.Start != berth.StartAttached {
			t.Errorf("%+v", got)
		}
		time.Sleep(50 * time.Minute)
		if got := states(t, w)["rocket"]; got != "empty" {
			t.Errorf("it is %q before its time is over", got)
		}
		world.After(10*time.Minute + slack)
		w.View(func(v store.View) error {
			r, err := store.Get[*store.Warmth](v, store.WarmthKey())
			for _, x := range r.Wishes {
				if !x.Learned { // the planner wants it now
					t.Errorf("%+v is left", x)
				}
			}
			return err
		})
	})
}

func TestWarmFetchesAtEachCall(t *testing.T) {
	runWarm(t, warmCfg(1, 0), func(t *testing.T, w *world.World) {
		requests := func(fn func()) int {
			before := w.Engine.Requests(world.RepoA)
			fn()
			return w.Engine.Requests(world.RepoA) - before
		}
		for i := range 3 {
			if n := requests(func() { warm(w, w.Provider, world.RepoA, "main", time.Hour) }); n < 1 {
				t.Errorf("call %d: %d requests", i, n)
			}
		}
		if n := requests(func() { touch(w, "t", world.RepoA) }); n != 0 {
			t.Errorf("the first session took %d requests", n)
		}
		if n := len(warmed(w)); n != 3 {
			t.Errorf("%q", warmed(w))
		}
	})
}

func TestWarmContainersAreFetchedAgain(t *testing.T) {
	for _, refresh := range []time.Duration{0, 20 * time.Minute, -1} {
		cfg := warmCfg(1, 0)
		cfg.Warm.Refresh, cfg.MirrorMaxAge = refresh, 10*time.Minute
		runWarm(t, cfg, func(t *testing.T, w *world.World) {
			warm(w, w.Provider, world.RepoA, "", 3*time.Hour)
			var fetches []int
			for range 2 {
				before := w.Engine.Requests(world.RepoA)
				time.Sleep(time.Hour)
				fetches = append(fetches, w.Engine.Requests(world.RepoA)-before)
			}
			want := map[time.Duration]int{0: 12, 20 * time.Minute: 3}[refresh]
			if least := min(fetches[0], fetches[1]); least < want-1 || max(fetches[0], fetches[1]) > want {
				t.Errorf("with Refresh %v, %v fetches in an hour; want about %d", refresh, fetches, want)
			}
			before := w.Engine.Requests(world.RepoA)
			if got := touch(w, "t", world.RepoA); got.Start != berth.StartAttached {
				t.Errorf("%+v", got)
			}
			if n := w.Engine.Requests(world.RepoA) - before; refresh <= 0 && (n > 0) != (refresh < 0) {
				t.Errorf("with Refresh %v, the first session made %d requests", refresh, n)
			}
			if n := len(warmed(w)); n != 1 {
				t.Errorf("%q", warmed(w))
			}
		})
	}
}

func TestCool(t *testing.T) {
	runWarm(t, warmCfg(2, 0), func(t *testing.T, w *world.World) {
		if err := w.Cool(t.Context(), world.RepoA, ""); err != nil {
			t.Errorf("nothing to cool: %v", err)
		}
		warm(w, w.Provider, world.RepoA, "", time.Hour)
		if err := w.Cool(t.Context(), "git@github.com:Acme/Rocket.git", ""); err != nil {
			t.Error(err)
		}
		world.After(slack)
		w.Empty()
	})
}

func TestTheLastWishesHaveTheBudget(t *testing.T) {
	runWarm(t, warmCfg(2, 0), func(t *testing.T, w *world.World) {
		for _, repo := range []string{world.RepoA, world.RepoB, repoC} {
			warm(w, w.Provider, repo, "", time.Hour)
		}
		if got := states(t, w); len(got) != 2 || got["skates"] != "empty" || got["tunnel"] != "empty" {
			t.Errorf("%v", got)
		}
		if err := w.Cool(t.Context(), repoC, ""); err != nil {
			t.Error(err)
		}
		world.After(time.Minute) // the oldest wish has its turn again
		if got := states(t, w); len(got) != 2 || got["skates"] != "empty" || got["rocket"] != "empty" {
			t.Errorf("%v", got)
		}
	})
}

func TestTheBudgetOfAnInstance(t *testing.T) {
	cfg := warmCfg(4, 1)
	cfg.MinInstances, cfg.MaxInstances = 2, 2
	runWarm(t, cfg, func(t *testing.T, w *world.World) {
		for _, repo := range []string{world.RepoA, world.RepoB, repoC} {
			warm(w, w.Provider, repo, "", time.Hour)
		}
		if got := states(t, w); len(got) != 2 || got["tunnel"] != "empty" {
			t.Errorf("%v", got)
		}
		for _, in := range w.InstanceRecords() {
			if len(in.Empties) != 1 {
				t.Errorf("%+v", in.Empties)
			}
		}
	})
}

func TestAWarmContainerCostsNoTaskItsSlotAndNoMachine(t *testing.T) {
	cfg := warmCfg(4, 0)
	cfg.MinInstances, cfg.MaxTasksPerInstance, cfg.InstanceIdleTimeout = 0, 1, 5*time.Minute
	run(t, cfg, func(t *testing.T, w *world.World) {
		warm(w, w.Provider, world.RepoA, "", 10*time.Hour)
		if n := w.Cloud.Alive(); n != 0 {
			t.Errorf("%d machines were launched", n)
		}
		s := w.Create("b", world.RepoB)
		world.After(time.Minute)
		if got := states(t, w); len(got) != 1 || got["skates"] != "ready" {
			t.Errorf("%v", got)
		}
		w.Terminate(s)
		world.After(time.Minute)
		if got := states(t, w); len(got) != 1 || got["rocket"] != "empty" {
			t.Errorf("%v, want what a host asked for when there is room", got)
		}
		begun := time.Now()
		s = w.Create("b2", world.RepoB)
		if took := time.Since(begun); took > 30*time.Second || s.Info().Start != berth.StartWarm {
			t.Errorf("%+v after %v", s.Info(), took)
		}
		w.Terminate(s)
		world.After(10 * time.Minute)
		if n := w.Cloud.Alive(); n != 0 {
			t.Errorf("%d machines are kept", n)
		}
	})
}

// TestAnIdleContainerGoesBeforeAWarmOne: a session takes the room of one that no host asked for.
func TestAnIdleContainerGoesBeforeAWarmOne(t *testing.T) {
	cfg := warmCfg(1, 0)
	cfg.ContainerIdleTimeout, cfg.MaxTasksPerInstance = -1, 2
	runWarm(t, cfg, func(t *testing.T, w *world.World) {
		warm(w, w.Provider, world.RepoA, "", time.Hour)
		touch(w, "b", world.RepoB)
		w.Create("c", repoC)
		world.After(time.Minute)
		if got := states(t, w); got["rocket"] != "empty" || got["skates"] != "" {
			t.Errorf("%v", got)
		}
	})
}

func TestAWarmContainerComesUpAgain(t *testing.T) {
	runWarm(t, warmCfg(1, 0), func(t *testing.T, w *world.World) {
		warm(w, w.Provider, world.RepoA, "", time.Hour)
		w.Engine.KillContainer(w.Engine.Containers()[0].Name)
		world.After(2 * time.Minute)
		if got := states(t, w)["rocket"]; got != "empty" || len(warmed(w)) < 2 {
			t.Errorf("it is %q, %q", got, warmed(w))
		}
		w.Close()
		again := w.NewProvider() // which knows of the wish
		world.After(time.Minute)
		if got := world.Create(t, again, world.Request("t", world.RepoA)).Info(); got.Start != berth.StartAttached {
			t.Errorf("%+v", got)
		}
	})
}

// TestASmallerBudget: what a planner keeps up under an earlier budget goes when the next planner's is smaller.
func TestASmallerBudget(t *testing.T) {
	runWarm(t, warmCfg(3, 0), func(t *testing.T, w *world.World) {
		for _, repo := range []string{world.RepoA, world.RepoB, repoC} {
			warm(w, w.Provider, repo, "", 10*time.Hour)
		}
		w.Close()
		w.Config.Warm.Containers = 1
		w.Provider = w.NewProvider()
		world.After(2 * time.Minute)
		if got := states(t, w); len(got) != 1 || got["tunnel"] != "empty" {
			t.Errorf("%v, want the one for which a host asked last", got)
		}
	})
}

// TestThePlannersBudgetIsInForce: a process that is configured otherwise keeps to it.
func TestThePlannersBudgetIsInForce(t *testing.T) {
	runWarm(t, warmCfg(1, 0), func(t *testing.T, w *world.World) {
		w.Config.Warm.Containers = 3
		other := w.NewProvider()
		time.Sleep(30 * time.Second)
		for _, repo := range []string{world.RepoA, world.RepoB, repoC} {
			warm(w, other, repo, "", time.Hour)
		}
		if got := states(t, w); len(got) != 1 || got["tunnel"] != "empty" {
			t.Errorf("%v", got)
		}
	})
}

// TestAWishThatFails: it is tried again, less and less often, and the event says why.
func TestAWishThatFails(t *testing.T) {
	setup := world.Setup{Config: warmCfg(1, 0), Engine: fake.EngineOptions{
		Repositories: map[string]fake.Repo{"https://git.example/acme/vault": {Password: "right"}},
	}}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		time.Sleep(3 * time.Minute)
		warm(w, w.Provider, "https://git.example/acme/vault", "", 10*time.Hour)
		world.After(time.Hour)
		if n := len(warmed(w)); n < 3 || n > 15 || warmed(w)[0] != "vault true" {
			t.Errorf("%q", warmed(w))
		}
		warm(w, w.Provider, "https://x:"+world.Secret+"@git.example/acme/vault", "", 10*time.Hour)
		w.NoSecret()
		warm(w, w.Provider, "https://x:right@git.example/acme/vault", "", time.Hour)
		if got := states(t, w)["vault"]; got != "empty" {
			t.Fatalf("it is %q: %q", got, warmed(w))
		}
		eve := world.Request("eve", "https://git.example/acme/vault")
		if s, err := w.CreateSession(t.Context(), eve); !errors.Is(err, berth.ErrAccessDenied) {
			t.Errorf("%v, %v", s, err)
		}
		if got := touch(w, "ann", "https://x:right@git.example/acme/vault"); got.Start != berth.StartAttached {
			t.Errorf("%+v", got)
		}
		world.After(2 * time.Hour)
		w.Empty()
		consistent(t, w)
	})
}

// TestAnyProcessMayAskForWarmth, and the planner's budget holds.
func TestAnyProcessMayAskForWarmth(t *testing.T) {
	runWarm(t, warmCfg(1, 0), func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		time.Sleep(30 * time.Second)
		warm(w, other, world.RepoA, "", time.Hour)
		if got := w.Create("t", world.RepoA).Info(); got.Start != berth.StartAttached {
			t.Errorf("%+v", got)
		}
	})
}

func TestDestroyForgetsWishes(t *testing.T) {
	runWarm(t, warmCfg(2, 0), func(t *testing.T, w *world.World) {
		warm(w, w.Provider, world.RepoA, "", time.Hour)
		if err := w.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
		w.Empty()
		if err := w.Warm(t.Context(), world.RepoA, "", time.Now().Add(time.Hour)); !errors.Is(err, berth.ErrClosed) {
			t.Error(err)
		}
		if err := w.Cool(t.Context(), world.RepoA, ""); !errors.Is(err, berth.ErrClosed) {
			t.Error(err)
		}
		w.View(func(v store.View) error {
			r, err := store.Find[*store.Warmth](v, store.WarmthKey())
			if r != nil {
				t.Errorf("%+v", r)
			}
			return err
		})
	})
}

func TestWarmthThatCannotBe(t *testing.T) {
	hour := func() time.Time { return time.Now().Add(time.Hour) }
	for field, c := range map[string]struct {
		cfg          berth.Config
		repo, branch string
		until        func() time.Time
	}{
		"Config.Warm":    {berth.Config{}, world.RepoA, "", hour},
		"until":          {warmCfg(1, 0), world.RepoA, "", time.Now},
		"repository":     {warmCfg(1, 0), "--upload-pack=x", "", hour},
		"branch":         {warmCfg(1, 0), world.RepoA, "-x", hour},
		"Config.Sharing": {berth.Config{Warm: berth.Warm{Containers: 1}, Sharing: berth.Sharing{User: true}}, world.RepoA, "", hour},
	} {
		t.Run(field, func(t *testing.T) {
			run(t, c.cfg, func(t *testing.T, w *world.World) {
				err := w.Warm(t.Context(), c.repo, c.branch, c.until())
				if e, ok := errors.AsType[*berth.FieldError](err); !ok || e.Field != field || !errors.Is(err, berth.ErrInvalid) {
					t.Errorf("%v, want a FieldError of %s", err, field)
				}
			})
		})
	}
}
