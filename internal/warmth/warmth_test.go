package warmth_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

const repoC = "https://github.com/acme/tunnel"

// slack is how much longer than its time an empty container may stay: until the planner looks, and while it is removed.
const slack = 20 * time.Second

// run is world.Run. At the end it checks the records.
func run(t *testing.T, cfg berth.Config, test func(t *testing.T, w *world.World)) {
	t.Helper()
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		test(t, w)
		consistent(t, w)
	})
}

// consistent checks that the records fit together.
func consistent(t *testing.T, w *world.World) {
	t.Helper()
	s, err := audit.Take(t.Context(), w.Store)
	if err != nil {
		t.Fatal(err)
	}
	for _, fault := range s.Faults(max(w.Config.MaxContainersPerRepository, 1)) {
		t.Error(fault)
	}
}

// states returns the states of the containers, by the name of their repositories.
func states(t *testing.T, w *world.World) map[string]string {
	t.Helper()
	all := make(map[string]string)
	for r, err := range w.Repositories(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all[r.Repository.Name()] = r.State
	}
	return all
}

// touch starts a session and ends it.
func touch(w *world.World, task, repo string) berth.SessionInfo {
	w.T.Helper()
	s := w.Create(task, repo)
	w.Terminate(s)
	return s.Info()
}

func TestAContainerStaysAndIsJoined(t *testing.T) {
	run(t, berth.Config{ContainerIdleTimeout: 5 * time.Minute}, func(t *testing.T, w *world.World) {
		first := touch(w, "t1", world.RepoA)
		time.Sleep(4 * time.Minute)
		if got := states(t, w)["rocket"]; got != "empty" || w.Stats().Empty != 1 {
			t.Errorf("the container is %q, and %d are empty", got, w.Stats().Empty)
		}
		for in, err := range w.Instances(t.Context()) {
			if err != nil || in.Empty != 1 || in.Tasks != 0 {
				t.Errorf("%+v, %v", in, err)
			}
		}
		begun := time.Now()
		s := w.Create("t2", world.RepoA)
		if got := s.Info(); got.Start != berth.StartAttached || got.Container != first.Container {
			t.Errorf("%+v, want that it was attached to %v", got, first.Container)
		}
		if took := time.Since(begun); took > 2*time.Second {
			t.Errorf("it took %v", took)
		}
		time.Sleep(10 * time.Minute) // the session holds it
		if got := states(t, w)["rocket"]; got != "ready" {
			t.Errorf("it is %q", got)
		}
		w.Terminate(s)
		time.Sleep(5*time.Minute - time.Second)
		if got := states(t, w)["rocket"]; got != "empty" {
			t.Errorf("it is %q before its time is over", got)
		}
		world.After(slack)
		w.Empty()
		if n := len(w.Events(berth.EventContainerEmpty)); n != 2 {
			t.Errorf("%d events say that it became empty", n)
		}
		if n := len(w.Events(berth.EventContainerGone)); n != 1 {
			t.Errorf("%d events say that it is gone", n)
		}
	})
}

func TestByDefaultAContainerGoesWithItsLastSession(t *testing.T) {
	run(t, berth.Config{}, func(t *testing.T, w *world.World) {
		touch(w, "t", world.RepoA)
		w.Empty()
	})
}

func TestAnEmptyContainerCostsNoTaskItsSlot(t *testing.T) {
	run(t, berth.Config{ContainerIdleTimeout: -1, InstanceIdleTimeout: -1, MaxTasksPerInstance: 2}, func(t *testing.T, w *world.World) {
		touch(w, "a", world.RepoA)
		waited := len(w.Events(berth.EventSessionQueued)) // for the instance
		time.Sleep(time.Hour)
		touch(w, "b", world.RepoB)
		time.Sleep(time.Hour)
		c := w.Create("c", repoC)
		if got := states(t, w); got["skates"] != "empty" || got["tunnel"] != "ready" || got["rocket"] == "empty" {
			t.Errorf("%v: the one that was empty for longest should go", got)
		}
		if got := w.Create("b2", world.RepoB).Info(); got.Start != berth.StartAttached {
			t.Errorf("%+v", got)
		}
		w.Terminate(c)
		touch(w, "a2", world.RepoA)
		if n := len(w.Events(berth.EventSessionQueued)) - waited; n != 0 {
			t.Errorf("%d sessions had to wait", n)
		}
		if n := len(w.InstanceRecords()); n != 1 {
			t.Errorf("there are %d instances", n)
		}
	})
}

// TestAQueuedTaskGetsTheRoom: a session that waits for a slot gets it, whatever stays empty.
func TestAQueuedTaskGetsTheRoom(t *testing.T) {
	run(t, berth.Config{ContainerIdleTimeout: -1, MaxTasksPerInstance: 1}, func(t *testing.T, w *world.World) {
		s := w.Create("a", world.RepoA)
		waits := world.Creating(t.Context(), w.Provider, world.Request("b", world.RepoB))
		w.Pending(waits, "the instance is full")
		w.Terminate(s)
		world.After(15 * time.Second)
		select {
		case r := <-waits:
			if r.Err != nil {
				t.Error(r.Err)
			}
		default:
			t.Error("it waits although no session holds a slot")
		}
	})
}

func TestAnEmptyContainerKeepsNoInstance(t *testing.T) {
	run(t, berth.Config{ContainerIdleTimeout: -1, InstanceIdleTimeout: 5 * time.Minute}, func(t *testing.T, w *world.World) {
		touch(w, "a", world.RepoA)
		time.Sleep(4 * time.Minute)
		if n := w.Cloud.Alive(); n != 1 {
			t.Fatalf("there are %d machines", n)
		}
		world.After(3 * time.Minute)
		if n := w.Cloud.Alive(); n != 0 || len(w.InstanceRecords()) != 0 {
			t.Errorf("there are %d machines, %v", n, w.InstanceRecords())
		}
		w.Empty()
		touch(w, "a2", world.RepoA)
	})
}

func TestAContainerWithOtherSettingsIsNotJoined(t *testing.T) {
	for name, change := range map[string]func(*berth.Config){
		"Limits": func(c *berth.Config) { c.Limits.PIDs = 1000 },
		"Image":  func(c *berth.Config) { c.Image = "other:1" },
		"Egress": func(c *berth.Config) { c.Egress.Mode = orchestrator.EgressNone },
		"EgressFor": func(c *berth.Config) {
			c.EgressFor = func(naming.Key) orchestrator.Egress { return orchestrator.Egress{Mode: orchestrator.EgressNone} }
		},
		"Caches":           func(c *berth.Config) { c.Caches = []orchestrator.Cache{orchestrator.NPM()} },
		"RequireIsolation": func(c *berth.Config) { c.RequireIsolation = true },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, berth.Config{ContainerIdleTimeout: -1, InstanceIdleTimeout: -1}, func(t *testing.T, w *world.World) {
				first := touch(w, "t1", world.RepoA)
				change(&w.Config)
				other := w.NewProvider()
				time.Sleep(10 * time.Second)
				s := world.Create(t, other, world.Request("t2", world.RepoA))
				if got := s.Info(); got.Start != berth.StartWarm || got.Container.ID == first.Container.ID {
					t.Errorf("%+v joined what was made with other settings", got)
				}
			})
		})
	}
}

func TestAnEmptyContainerAsksForAProof(t *testing.T) {
	const vault = "https://x:right@git.example/acme/vault"
	setup := world.Setup{Config: berth.Config{ContainerIdleTimeout: time.Hour, InstanceIdleTimeout: -1}, Engine: fake.EngineOptions{
		Repositories: map[string]fake.Repo{"https://git.example/acme/vault": {Password: "right"}},
	}}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		touch(w, "ann", vault)
		if err := w.Revoke(t.Context(), world.User, ""); err != nil {
			t.Error(err)
		}
		eve := world.Request("eve", "https://git.example/acme/vault")
		eve.UserID = world.OtherUser
		if s, err := w.CreateSession(t.Context(), eve); !errors.Is(err, berth.ErrAccessDenied) {
			t.Errorf("%v, %v", s, err)
		}
		if got := w.Create("ann-2", vault).Info(); got.Start != berth.StartAttached {
			t.Errorf("%+v", got)
		}
		consistent(t, w)
	})
}

func TestAPrivateContainerDoesNotStay(t *testing.T) {
	cfg := berth.Config{ContainerIdleTimeout: -1, Sharing: berth.Sharing{Private: func(naming.Repository) bool { return true }}}
	run(t, cfg, func(t *testing.T, w *world.World) {
		touch(w, "t", world.RepoA)
		w.Empty()
	})
}

// TestAContainerInWhichNothingStartedDoesNotStay: it may be broken, and the next session should get another.
func TestAContainerInWhichNothingStartedDoesNotStay(t *testing.T) {
	run(t, berth.Config{ContainerIdleTimeout: -1}, func(t *testing.T, w *world.World) {
		w.Engine.Next(fake.Open, 1, fake.Fault{Before: errors.New("no room on the disk")})
		if s, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA)); err == nil {
			t.Fatalf("%+v", s.Info())
		}
		world.After(10 * time.Second)
		w.Empty()
	})
}

func TestAnEmptyContainerSurvivesARestart(t *testing.T) {
	run(t, berth.Config{ContainerIdleTimeout: 5 * time.Minute}, func(t *testing.T, w *world.World) {
		first := touch(w, "t1", world.RepoA)
		w.Close()
		time.Sleep(time.Minute)
		again := w.NewProvider()
		s := world.Create(t, again, world.Request("t2", world.RepoA))
		if got := s.Info(); got.Start != berth.StartAttached || got.Container != first.Container {
			t.Errorf("%+v", got)
		}
		if err := again.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Fatal(err)
		}
		again.Close()
		third := w.NewProvider()
		world.After(5*time.Minute + time.Minute)
		w.Empty()
		third.Close()
	})
}

// TestThePlannersTimeoutIsInForce: a process that is configured otherwise keeps what the planner's setting says.
func TestThePlannersTimeoutIsInForce(t *testing.T) {
	run(t, berth.Config{ContainerIdleTimeout: 5 * time.Minute}, func(t *testing.T, w *world.World) {
		time.Sleep(30 * time.Second)
		w.Config.ContainerIdleTimeout = 0
		other := w.NewProvider()
		time.Sleep(30 * time.Second)
		if got := other.Stats().ConfigDiffers; len(got) != 1 || got[0] != "ContainerIdleTimeout is 5m0s, not 0s" {
			t.Errorf("%q", got)
		}
		s := world.Create(t, other, world.Request("t", world.RepoA))
		if err := other.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Fatal(err)
		}
		if got := states(t, w)["rocket"]; got != "empty" {
			t.Errorf("it is %q", got)
		}
		world.After(5*time.Minute + slack)
		w.Empty()
	})
}

func TestDestroyRemovesEmptyContainers(t *testing.T) {
	run(t, berth.Config{ContainerIdleTimeout: -1, MaxInstances: 2}, func(t *testing.T, w *world.World) {
		touch(w, "a", world.RepoA)
		touch(w, "b", world.RepoB)
		if err := w.Destroy(t.Context()); err != nil {
			t.Error(err)
		}
		w.Empty()
		if n := w.Cloud.Alive(); n != 0 || len(w.InstanceRecords()) != 0 {
			t.Errorf("%d machines are left", n)
		}
	})
}

// TestAnInstanceThatTakesNoSessionsHasNoEmptyContainer: neither one that an operator holds, nor one that the cloud takes back.
func TestAnInstanceThatTakesNoSessionsHasNoEmptyContainer(t *testing.T) {
	for name, happens := range map[string]func(*world.World, string) error{
		"cordoned": func(w *world.World, id string) error { return w.Console().Cordon(w.T.Context(), id, "") },
		"drained":  func(w *world.World, id string) error { return w.Console().Drain(w.T.Context(), id, "") },
		"taken back": func(w *world.World, id string) error {
			w.Cloud.Reclaim(id, 2*time.Minute)
			return nil
		},
		"vanished": func(w *world.World, id string) error { w.Cloud.Vanish(id); return nil },
	} {
		t.Run(name, func(t *testing.T) {
			run(t, berth.Config{ContainerIdleTimeout: -1, InstanceIdleTimeout: -1, MaxInstances: 2}, func(t *testing.T, w *world.World) {
				first := touch(w, "a", world.RepoA)
				kept := w.Create("b", world.RepoB)
				if err := happens(w, first.Instance.ID); err != nil {
					t.Fatal(err)
				}
				world.After(90 * time.Second)
				if got := states(t, w); got["rocket"] != "" {
					t.Errorf("%v", got)
				}
				if got := w.Create("a2", world.RepoA).Info(); got.Instance.ID == first.Instance.ID || got.Start == berth.StartAttached {
					t.Errorf("%+v", got)
				}
				_ = w.TerminateSession(t.Context(), kept.ID())
				if got := states(t, w)["skates"]; got == "empty" {
					t.Error("a container became empty on such an instance")
				}
			})
		})
	}
}

// TestAnEmptyContainerThatDiesIsReplaced: nothing is left of it, and the next session starts another.
func TestAnEmptyContainerThatDiesIsReplaced(t *testing.T) {
	run(t, berth.Config{ContainerIdleTimeout: -1, InstanceIdleTimeout: -1}, func(t *testing.T, w *world.World) {
		first := touch(w, "a", world.RepoA)
		w.Engine.KillContainer(first.Container.Name)
		world.After(30 * time.Second)
		w.Empty()
		if got := w.Create("a2", world.RepoA).Info(); got.Start != berth.StartWarm {
			t.Errorf("%+v", got)
		}
	})
}

// TestWhoPaysForAnEmptyContainer: its repository, and no user.
func TestWhoPaysForAnEmptyContainer(t *testing.T) {
	cfg := berth.Config{ContainerIdleTimeout: time.Hour, InstanceIdleTimeout: 2 * time.Hour, MaxTasksPerInstance: 4}
	run(t, cfg, func(t *testing.T, w *world.World) {
		touch(w, "a", world.RepoA)
		time.Sleep(3 * time.Hour)
		var sum time.Duration
		for u, err := range w.Usage(t.Context(), berth.UsageQuery{By: berth.UsageByRepository}) {
			if err != nil {
				t.Fatal(err)
			}
			sum += u.Used + u.Warm + u.Idle
			if u.Key == "" && u.Warm != 0 {
				t.Errorf("no repository pays %v", u.Warm)
			}
			if u.Key == "github.com/acme/rocket" && (u.Warm < 14*time.Minute || u.Warm > 16*time.Minute) { // an hour of one slot of four
				t.Errorf("the repository pays %v", u.Warm)
			}
		}
		for u, err := range w.Usage(t.Context(), berth.UsageQuery{By: berth.UsageByUser}) {
			if err != nil || u.Key != "" && u.Warm != 0 {
				t.Errorf("%+v, %v", u, err)
			}
		}
		m := w.Cloud.Machines()[0]
		if want := m.Ended.Truncate(time.Microsecond).Sub(m.Launched.Truncate(time.Microsecond)); sum != want {
			t.Errorf("%v are accounted of %v", sum, want)
		}
	})
}

// TestAListThatAnOlderVersionLeft: entries of containers that are not empty any more are dropped, and cost nothing.
func TestAListThatAnOlderVersionLeft(t *testing.T) {
	run(t, berth.Config{ContainerIdleTimeout: time.Minute, MaxTasksPerInstance: 2}, func(t *testing.T, w *world.World) {
		s := w.Create("a", world.RepoA)
		held := w.ContainerRecords()[0].ID
		err := w.Store.Update(t.Context(), nil, func(tx store.Tx) error {
			in, err := store.Get[*store.Instance](tx, store.InstanceKey(s.Info().Instance.ID))
			if err != nil {
				return err
			}
			for _, id := range []string{held, "c-gone"} {
				in.Empties = append(in.Empties, store.Empty{Container: id, Since: time.Now()})
			}
			return tx.Put(in)
		})
		if err != nil {
			t.Fatal(err)
		}
		w.Create("b", world.RepoB)
		world.After(2 * time.Minute)
		if in := w.InstanceRecords()[0]; len(in.Empties) != 0 || in.Sessions != 2 {
			t.Errorf("%+v", in)
		}
	})
}
