package warmth_test

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
)

// repoN is one of many repositories.
func repoN(i int) string { return fmt.Sprintf("https://github.com/acme/module-%d", i) }

// learnCfg is warmCfg, with time for the planner to decide.
func learnCfg(containers int) berth.Config {
	cfg := warmCfg(containers, 0)
	cfg.ContainerIdleTimeout = 0
	return cfg
}

// TestThePlannerKeepsWhatIsWantedMost: within the budget, that for which most sessions came.
func TestThePlannerKeepsWhatIsWantedMost(t *testing.T) {
	cfg := learnCfg(2)
	cfg.MaxTasksPerInstance = 8
	runWarm(t, cfg, func(t *testing.T, w *world.World) {
		for round := range 4 {
			for i := range 4 {
				if round <= i { // module-3 four times, module-0 once
					touch(w, fmt.Sprintf("t-%d-%d", round, i), repoN(i))
					time.Sleep(time.Minute)
				}
			}
		}
		world.After(5 * time.Minute)
		if got := states(t, w); len(got) != 2 || got["module-2"] != "empty" || got["module-3"] != "empty" || w.Stats().KeptWarm != 2 {
			t.Errorf("%v, %d are warm", got, w.Stats().KeptWarm)
		}
		if got := touch(w, "next", repoN(3)); got.Start != berth.StartAttached {
			t.Errorf("%+v", got)
		}
		time.Sleep(90 * time.Minute) // wishes are renewed
		if got := states(t, w); len(got) != 2 || got["module-3"] != "empty" {
			t.Errorf("%v", got)
		}
	})
}

// TestWhatIsLearnedSurvives a restart and the loss of all instances. A container of it starts before it is asked for, as soon as
// an instance is up.
func TestWhatIsLearnedSurvives(t *testing.T) {
	cfg := learnCfg(1)
	cfg.MinInstances = 0
	run(t, cfg, func(t *testing.T, w *world.World) {
		for i := range 3 {
			touch(w, fmt.Sprint("a", i), world.RepoA)
			time.Sleep(10 * time.Minute)
		}
		touch(w, "b", world.RepoB)
		time.Sleep(2 * time.Hour)
		if n := w.Cloud.Alive(); n != 0 {
			t.Fatalf("%d machines are kept", n)
		}
		w.Close()
		w.Provider = w.NewProvider()
		time.Sleep(time.Minute)
		w.Create("c", repoC) // brings an instance up
		world.After(20 * time.Second)
		if got := states(t, w); got["rocket"] != "empty" || got["skates"] != "" {
			t.Errorf("%v", got)
		}
		if got := w.Create("a", world.RepoA).Info(); got.Start != berth.StartAttached {
			t.Errorf("%+v", got)
		}
	})
}

// TestASpareInstanceIsWarmBeforeItIsAsked: an instance that boots because of SpareSlots has the container that is wanted most.
func TestASpareInstanceIsWarmBeforeItIsAsked(t *testing.T) {
	cfg := berth.Config{SpareSlots: 1, MaxInstances: 2, MaxTasksPerInstance: 2, Warm: berth.Warm{Containers: 2}}
	run(t, cfg, func(t *testing.T, w *world.World) {
		time.Sleep(3 * time.Minute)
		touch(w, "a", world.RepoA)
		time.Sleep(5 * time.Minute)
		first := w.Create("b", world.RepoB)
		second := w.Create("b2", world.RepoB) // takes the room of the warm container
		if first.Info().Instance.ID != second.Info().Instance.ID {
			t.Fatalf("%+v, %+v", first.Info(), second.Info())
		}
		world.After(3 * time.Minute)
		if n := w.Cloud.Alive(); n != 2 {
			t.Fatalf("%d machines", n)
		}
		if got := states(t, w); got["rocket"] != "empty" {
			t.Errorf("%v", got)
		}
		if got := w.Create("a2", world.RepoA).Info(); got.Start != berth.StartAttached || got.Instance.ID == first.Info().Instance.ID {
			t.Errorf("%+v", got)
		}
	})
}

// TestHostsComeFirst: what a host asks for has the budget, and the planner's own choice gives way.
func TestHostsComeFirst(t *testing.T) {
	runWarm(t, learnCfg(1), func(t *testing.T, w *world.World) {
		touch(w, "a", world.RepoA)
		world.After(5 * time.Minute)
		if got := states(t, w)["rocket"]; got != "empty" {
			t.Errorf("it is %q", got)
		}
		warm(w, w.Provider, world.RepoB, "", time.Hour)
		world.After(time.Minute)
		if got := states(t, w); len(got) != 1 || got["skates"] != "empty" {
			t.Errorf("%v", got)
		}
		if err := w.Cool(t.Context(), world.RepoB, ""); err != nil {
			t.Error(err)
		}
		world.After(2 * time.Minute)
		if got := states(t, w); len(got) != 1 || got["rocket"] != "empty" {
			t.Errorf("%v", got)
		}
	})
}

// TestAContainerWithSessionsTakesNoneOfTheBudget: it is up without a wish.
func TestAContainerWithSessionsTakesNoneOfTheBudget(t *testing.T) {
	runWarm(t, learnCfg(1), func(t *testing.T, w *world.World) {
		for i := range 3 {
			touch(w, fmt.Sprint("a", i), world.RepoA)
		}
		touch(w, "b", world.RepoB)
		w.Create("a", world.RepoA)
		world.After(5 * time.Minute)
		if got := states(t, w); got["rocket"] != "ready" || got["skates"] != "empty" {
			t.Errorf("%v", got)
		}
	})
}

// TestAFullInstanceIsNotEnough: if a key may have more containers, one is up where the next session can join.
func TestAFullInstanceIsNotEnough(t *testing.T) {
	cfg := learnCfg(1)
	cfg.MinInstances, cfg.MaxInstances, cfg.MaxTasksPerInstance, cfg.MaxContainersPerRepository = 2, 2, 2, 2
	runWarm(t, cfg, func(t *testing.T, w *world.World) {
		first := w.Create("a1", world.RepoA).Info()
		w.Create("a2", world.RepoA)
		world.After(5 * time.Minute)
		if got := w.Create("a3", world.RepoA).Info(); got.Start != berth.StartAttached || got.Instance.ID == first.Instance.ID {
			t.Errorf("%+v", got)
		}
	})
}

// TestWhatNeedsACredentialStays: the planner has none to start it, but keeps what is up. It tries again seldom.
func TestWhatNeedsACredentialStays(t *testing.T) {
	const vault = "https://x:right@git.example/acme/vault"
	cfg := learnCfg(1)
	setup := world.Setup{Config: cfg, Engine: fake.EngineOptions{
		Repositories: map[string]fake.Repo{"https://git.example/acme/vault": {Password: "right"}},
	}}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		time.Sleep(3 * time.Minute)
		touch(w, "a", vault)
		touch(w, "a2", vault)
		world.After(5 * time.Minute)
		w.Engine.KillContainer(w.Engine.Containers()[0].Name)
		world.After(8 * time.Hour)
		if n := len(warmed(w)); n < 3 || n > 15 {
			t.Errorf("%d tries: %q", n, warmed(w))
		}
		touch(w, "a3", vault)
		world.After(5 * time.Minute)
		if got := states(t, w)["vault"]; got != "empty" {
			t.Errorf("it is %q", got)
		}
		consistent(t, w)
	})
}

// TestNothingIsLearnedWithoutABudget: then it is of no use.
func TestNothingIsLearnedWithoutABudget(t *testing.T) {
	run(t, berth.Config{}, func(t *testing.T, w *world.World) {
		touch(w, "a", world.RepoA)
		world.After(5 * time.Minute)
		w.View(func(v store.View) error {
			d, err := store.Find[*store.Demand](v, store.DemandKey())
			if d != nil {
				t.Errorf("%+v", d)
			}
			return err
		})
	})
}
