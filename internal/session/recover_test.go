package session_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

func TestContainerKilledFromOutside(t *testing.T) {
	for name, kill := range map[string]func(*fake.Engine, string) bool{
		"killed": (*fake.Engine).KillContainer, "removed": (*fake.Engine).RemoveContainer,
	} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
				other := w.NewProvider()
				s := w.Create("t", world.RepoA)
				there := world.Get(t, other, s.ID())
				done := there.Done()
				if !kill(w.Engine, s.Info().Container.Name) {
					t.Fatal("there is no container")
				}
				<-s.Done()
				if !errors.Is(s.Err(), berth.ErrContainerLost) {
					t.Error(s.Err())
				}
				<-done
				if !errors.Is(there.Err(), berth.ErrContainerLost) {
					t.Errorf("in the other replica: %v", there.Err())
				}
				world.After(time.Second)
				w.Empty()
				if n := w.Stats().Containers.ContainersLost; n != 1 {
					t.Errorf("%d containers lost", n)
				}
				w.Create("t", world.RepoA)
			})
		})
	}
}

// TestContainerThatNobodyWatchesIsMissed: the container died while no replica was attached to it.
func TestContainerThatNobodyWatchesIsMissed(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		s := w.Create("t", world.RepoA)
		w.Close()
		w.Engine.KillContainer(s.Info().Container.Name)
		w.Provider = w.NewProvider()
		world.After(2 * time.Minute)
		w.Empty()
		got, err := w.GetSession(t.Context(), s.ID())
		if err != nil || !errors.Is(got.Err(), berth.ErrContainerLost) {
			t.Errorf("%v, %v", got.Err(), err)
		}
	})
}

func TestInstanceLost(t *testing.T) {
	for name, lose := range map[string]func(w *world.World, id string){
		"vanished":    func(w *world.World, id string) { w.Cloud.Vanish(id) },
		"interrupted": func(w *world.World, id string) { w.Cloud.Interrupt(id) },
		"stopped":     func(w *world.World, id string) { w.Cloud.Stop(id) },
		"unreachable": func(w *world.World, id string) { w.Engine.Unreachable(id) },
		"hanging":     func(w *world.World, id string) { w.Engine.HangHost(id) },
	} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
				s := w.Create("t", world.RepoA)
				launch := w.InstanceRecords()[0].ID
				lose(w, launch)
				world.After(3 * time.Minute)
				select {
				case <-s.Done():
				default:
					t.Fatal("no replica noticed")
				}
				if !errors.Is(s.Err(), berth.ErrInstanceLost) {
					t.Error(s.Err())
				}
				if n := w.Stats(); n.Pool.InstancesLost != 1 || n.Containers.ContainersLost != 0 {
					t.Errorf("%+v", n)
				}
				w.Create("t", world.RepoA) // on a new instance, within MaxInstances 1
				if n := w.Cloud.MaxAlive(); n != 1 {
					t.Errorf("%d machines at once", n)
				}
			})
		})
	}
}

// TestSessionBeingCreatedOnALostInstanceGetsAnother: the session has lost nothing yet, so its creation goes on
// elsewhere.
func TestSessionBeingCreatedOnALostInstanceGetsAnother(t *testing.T) {
	for _, verb := range []fake.Verb{fake.Ensure, fake.Open} {
		t.Run(string(verb), func(t *testing.T) {
			world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
				w.Engine.Next(verb, 1, fake.Fault{Hang: true})
				c := world.Creating(t.Context(), w.Provider, world.Request("t", world.RepoA))
				time.Sleep(20 * time.Second)
				w.Pending(c, "it hangs")
				w.Cloud.Vanish(w.InstanceRecords()[0].ID)
				r := <-c
				if r.Err != nil {
					t.Fatal(r.Err)
				}
				if n := w.Cloud.Launches(); n != 2 {
					t.Errorf("%d launches", n)
				}
			})
		})
	}
}

func TestLeftoverOfACutOffStartIsAdopted(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world.World) {
		time.Sleep(time.Minute)
		repo, err := naming.ParseRepository(world.RepoA)
		if err != nil {
			t.Fatal(err)
		}
		w.Engine.PlantContainer(w.InstanceRecords()[0].ID, "berth", w.PoolUID(), naming.Key{Repository: repo})
		left := w.Engine.Containers()[0].ID
		s := w.Create("t", world.RepoA)
		if id := s.Info().Container.ID; id != left {
			t.Errorf("container %s was started in place of %s", id, left)
		}
	})
}

func TestUnknownContainersAreRemovedAfterAGraceTime(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world.World) {
		time.Sleep(time.Minute)
		host := w.InstanceRecords()[0].ID
		ours := naming.Key{Repository: naming.Repository{Host: "github.com", Path: "acme/left"}}
		theirs := naming.Key{Repository: naming.Repository{Host: "github.com", Path: "acme/theirs"}}
		w.Engine.PlantContainer(host, "berth", w.PoolUID(), ours)
		w.Engine.PlantContainer(host, "berth", "another store's", theirs)
		w.Engine.PlantStranger(host, "postgres")
		world.After(5 * time.Minute)
		if n := len(w.Engine.Containers()); n != 3 {
			t.Errorf("%d containers of 3 before the grace time is over", n)
		}
		world.After(3 * time.Minute)
		left := make(map[string]bool)
		for _, c := range w.Engine.Containers() {
			left[c.Name] = true
		}
		if len(left) != 2 || left[ours.ContainerName("berth")] {
			t.Errorf("left: %v", left)
		}
		if n := len(w.ContainerRecords()); n != 0 {
			t.Errorf("%d records", n)
		}
		if n := w.Stats().Containers.Foreign; n != 1 {
			t.Errorf("the statistics count %d containers of another store", n)
		}
	})
}

// TestFirstUseWaitsForAnEngineThatRestarts: a process starts a container or attaches to it when it uses the container
// for the first time.
func TestFirstUseWaitsForAnEngineThatRestarts(t *testing.T) {
	for name, repo := range map[string]string{"cold": world.RepoB, "attached by another process": world.RepoA} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Setup{Config: berth.Config{MaxInstances: 1}}, func(t *testing.T, w *world.World) {
				w.Create("t1", world.RepoA)
				other := w.NewProvider()
				host := w.InstanceRecords()[0].ID
				w.Engine.Unreachable(host)
				c := world.Creating(t.Context(), other, world.Request("t2", repo))
				time.Sleep(10 * time.Second)
				w.Pending(c, "the engine cannot be reached")
				w.Engine.Reconnect(host)
				if r := <-c; r.Err != nil {
					t.Errorf("CreateSession: %v", r.Err)
				}
				if told := w.Events(berth.EventProgress); !slices.ContainsFunc(told, func(e berth.Event) bool {
					return strings.Contains(e.Message, "waiting for the engine")
				}) {
					t.Errorf("no event reports the wait: %+v", told)
				}
			})
		})
	}
}

// TestWaitForAnEngineIsBounded: the caller's context and the time limit of a start bound the wait.
func TestWaitForAnEngineIsBounded(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MaxInstances: 1}}, func(t *testing.T, w *world.World) {
		w.Create("t1", world.RepoA)
		w.Engine.Fail(fake.Ensure, 10000, fmt.Errorf("restarting: %w", orchestrator.ErrUnreachable))
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		begun := time.Now()
		if _, err := w.CreateSession(ctx, world.Request("t2", world.RepoB)); !errors.Is(err, context.DeadlineExceeded) || time.Since(begun) > 11*time.Second {
			t.Errorf("after %v, with a context of 10 s: %v", time.Since(begun), err)
		}
		begun = time.Now()
		_, err := w.CreateSession(t.Context(), world.Request("t3", world.RepoB))
		took := time.Since(begun)
		if failure, ok := errors.AsType[*berth.StartError](err); !ok || failure.Phase != "starting" || !errors.Is(err, orchestrator.ErrUnreachable) ||
			took < 5*time.Minute || took > 6*time.Minute {
			t.Errorf("after %v, without a deadline: %v", took, err)
		}
	})
}

func TestLeftResourcesAreRemovedAfterAGraceTime(t *testing.T) {
	for name, test := range map[string]struct {
		grace, spared, gone time.Duration
	}{
		"default": {0, 5 * time.Minute, 7 * time.Minute},
		"short":   {10 * time.Second, 9 * time.Second, 21 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1, LeftoverGrace: test.grace}}, func(t *testing.T, w *world.World) {
				w.Create("t", world.RepoA)
				host := w.InstanceRecords()[0].ID
				w.Engine.PlantResource(host, "berth", w.PoolUID(), fake.ResourceHelper)
				w.Engine.PlantResource(host, "berth", w.PoolUID(), fake.ResourceWork)
				w.Engine.PlantResource(host, "berth", "another store's", fake.ResourceHelper)
				other := w.Engine.PlantResource(host, "other", w.PoolUID(), fake.ResourceHelper)
				time.Sleep(test.spared)
				if left := w.Engine.Resources(); len(left) != 5 {
					t.Errorf("before the grace time is over there are %+v; want all 5", left)
				}
				time.Sleep(test.gone - test.spared)
				left := w.Engine.Resources()
				if len(left) != 2 || !slices.ContainsFunc(left, func(r fake.Resource) bool { return r.ID == other }) ||
					!slices.ContainsFunc(left, func(r fake.Resource) bool { return r.InUse }) {
					t.Errorf("left are %+v; want the other pool's and those that the container uses", left)
				}
				if n := w.Stats().Containers.Swept; n != 3 {
					t.Errorf("the statistics count %d removed resources, want 3", n)
				}
			})
		})
	}
}

// TestNameInUseByAnotherPoolIsAClearError checks the error, and that it does not block the repository for ever.
func TestNameInUseByAnotherPoolIsAClearError(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world.World) {
		time.Sleep(time.Minute)
		repo, _ := naming.ParseRepository(world.RepoA)
		name := naming.Key{Repository: repo}.ContainerName("berth")
		w.Engine.PlantStranger(w.InstanceRecords()[0].ID, name)
		for range 2 {
			_, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA))
			if failure, ok := errors.AsType[*berth.StartError](err); !ok || failure.Phase != "starting" {
				t.Error(err)
			}
		}
		if cs := w.Engine.Containers(); len(cs) != 1 || cs[0].Pool != "" {
			t.Errorf("the other pool's container was changed: %+v", cs)
		}
		w.Engine.RemoveContainer(name)
	})
}
