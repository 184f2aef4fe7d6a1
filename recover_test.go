package berth_test

import (
	"errors"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/naming"
)

func TestContainerKilledFromOutside(t *testing.T) {
	for name, kill := range map[string]func(*fake.Engine, string) bool{
		"killed": (*fake.Engine).KillContainer, "removed": (*fake.Engine).RemoveContainer,
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, setup{}, func(t *testing.T, w *world) {
				other := w.provider()
				s := w.create("t", repoA)
				there, err := other.GetSession(t.Context(), s.ID())
				if err != nil {
					t.Fatal(err)
				}
				done := there.Done()
				if !kill(w.engine, s.Info().Container.Name) {
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
				after(time.Second)
				w.empty()
				if n := w.Stats().Containers.ContainersLost; n != 1 {
					t.Errorf("%d containers lost", n)
				}
				w.create("t", repoA)
			})
		})
	}
}

// TestContainerThatNobodyWatchesIsMissed: it died while no replica was attached to it.
func TestContainerThatNobodyWatchesIsMissed(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		w.Close()
		w.engine.KillContainer(s.Info().Container.Name)
		w.Provider = w.provider()
		after(2 * time.Minute)
		w.empty()
		got, err := w.GetSession(t.Context(), s.ID())
		if err != nil || !errors.Is(got.Err(), berth.ErrContainerLost) {
			t.Errorf("%v, %v", got.Err(), err)
		}
	})
}

func TestInstanceLost(t *testing.T) {
	for name, lose := range map[string]func(w *world, id string){
		"vanished":    func(w *world, id string) { w.cloud.Vanish(id) },
		"interrupted": func(w *world, id string) { w.cloud.Interrupt(id) },
		"stopped":     func(w *world, id string) { w.cloud.Stop(id) },
		"unreachable": func(w *world, id string) { w.engine.Unreachable(id) },
		"hanging":     func(w *world, id string) { w.engine.HangHost(id) },
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, setup{}, func(t *testing.T, w *world) {
				s := w.create("t", repoA)
				launch := w.instances()[0].ID
				lose(w, launch)
				after(3 * time.Minute)
				select {
				case <-s.Done():
				default:
					t.Fatal("nobody noticed")
				}
				if !errors.Is(s.Err(), berth.ErrInstanceLost) {
					t.Error(s.Err())
				}
				if n := w.Stats(); n.Pool.InstancesLost != 1 || n.Containers.ContainersLost != 0 {
					t.Errorf("%+v", n)
				}
				w.create("t", repoA) // on a new instance, within MaxInstances 1
				if n := w.cloud.MaxAlive(); n != 1 {
					t.Errorf("%d machines at once", n)
				}
			})
		})
	}
}

// TestSessionBeingCreatedOnALostInstanceGetsAnother: nothing of it was lost.
func TestSessionBeingCreatedOnALostInstanceGetsAnother(t *testing.T) {
	for _, verb := range []fake.Verb{fake.Ensure, fake.Open} {
		t.Run(string(verb), func(t *testing.T) {
			inWorld(t, setup{}, func(t *testing.T, w *world) {
				w.engine.Next(verb, 1, fake.Fault{Hang: true})
				c := w.creating(t.Context(), w.Provider, asking("t", repoA))
				time.Sleep(20 * time.Second)
				w.pending(c, "it hangs")
				w.cloud.Vanish(w.instances()[0].ID)
				r := <-c
				if r.err != nil {
					t.Fatal(r.err)
				}
				if n := w.cloud.Launches(); n != 2 {
					t.Errorf("%d launches", n)
				}
			})
		})
	}
}

func TestCloseLeavesEverythingRunning(t *testing.T) {
	inWorld(t, setup{}, func(t *testing.T, w *world) {
		s := w.create("t", repoA)
		w.Close()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if n := len(w.engine.Containers()); n != 1 || w.cloud.Alive() != 1 {
			t.Errorf("%d containers, %d machines", n, w.cloud.Alive())
		}
		p := w.provider()
		again, err := p.GetSession(t.Context(), s.ID())
		if err != nil || again.Info().State != berth.SessionActive {
			t.Fatalf("%v, %v", again, err)
		}
		if err := again.Command(t.Context(), "true").Run(); err != nil {
			t.Error(err)
		}
		same, err := p.CreateSession(t.Context(), asking("t", repoA))
		if err != nil || same.ID() != s.ID() {
			t.Errorf("%v, %v", same, err)
		}
		if err := p.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Error(err)
		}
		after(time.Second)
		w.empty()
		if _, err := w.GetSession(t.Context(), s.ID()); !errors.Is(err, berth.ErrClosed) {
			t.Error(err)
		}
	})
}

func TestDestroyRemovesEverything(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 2, MaxInstances: 3}}, func(t *testing.T, w *world) {
		other := w.provider()
		s := w.create("t1", repoA)
		if _, err := other.CreateSession(t.Context(), asking("t2", repoB)); err != nil {
			t.Fatal(err)
		}
		w.engine.Hang(fake.Ensure)
		c := w.creating(t.Context(), other, asking("t3", "https://github.com/acme/anvil"))
		time.Sleep(time.Minute)
		if err := w.Destroy(t.Context()); err != nil {
			t.Fatal(err)
		}
		if r := <-c; r.err == nil {
			t.Error("a session was created on a pool that is being destroyed")
		}
		<-s.Done()
		if n := w.cloud.Alive(); n != 0 {
			t.Errorf("%d machines are left", n)
		}
		after(time.Hour) // MinInstances is not launched again, neither here nor by the other replica
		w.empty()
		if n := w.cloud.Alive(); n != 0 {
			t.Errorf("%d machines came back", n)
		}
		if _, err := other.CreateSession(t.Context(), asking("t4", repoA)); !errors.Is(err, berth.ErrClosed) {
			t.Error(err)
		}
		other.Close()
		w.engine.Heal()
		w.Provider = w.provider() // opens the pool again
		w.create("t1", repoA)
	})
}

func TestLeftoverOfACutOffStartIsAdopted(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world) {
		time.Sleep(time.Minute)
		repo, err := naming.ParseRepository(repoA)
		if err != nil {
			t.Fatal(err)
		}
		w.engine.PlantContainer(w.instances()[0].ID, "berth", w.poolUID(), naming.Key{Repository: repo})
		left := w.engine.Containers()[0].ID
		s := w.create("t", repoA)
		if id := s.Info().Container.ID; id != left {
			t.Errorf("container %s was started in place of %s", id, left)
		}
	})
}

func TestUnknownContainersAreRemovedAfterAGraceTime(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world) {
		time.Sleep(time.Minute)
		host := w.instances()[0].ID
		ours := naming.Key{Repository: naming.Repository{Host: "github.com", Path: "acme/left"}}
		theirs := naming.Key{Repository: naming.Repository{Host: "github.com", Path: "acme/theirs"}}
		w.engine.PlantContainer(host, "berth", w.poolUID(), ours)
		w.engine.PlantContainer(host, "berth", "another store's", theirs)
		w.engine.PlantStranger(host, "postgres")
		after(5 * time.Minute)
		if n := len(w.engine.Containers()); n != 3 {
			t.Errorf("%d containers of 3 before the grace time is over", n)
		}
		after(3 * time.Minute)
		left := make(map[string]bool)
		for _, c := range w.engine.Containers() {
			left[c.Name] = true
		}
		if len(left) != 2 || left[ours.ContainerName("berth")] {
			t.Errorf("left: %v", left)
		}
		if n := len(w.containers()); n != 0 {
			t.Errorf("%d records", n)
		}
		if n := w.Stats().Containers.Foreign; n != 1 {
			t.Errorf("%d containers are another store's, by the statistics", n)
		}
	})
}

// TestNameInUseByAnotherPoolIsAClearError, which does not block the repository for ever.
func TestNameInUseByAnotherPoolIsAClearError(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world) {
		time.Sleep(time.Minute)
		repo, _ := naming.ParseRepository(repoA)
		name := naming.Key{Repository: repo}.ContainerName("berth")
		w.engine.PlantStranger(w.instances()[0].ID, name)
		for range 2 {
			_, err := w.CreateSession(t.Context(), asking("t", repoA))
			if failure, ok := errors.AsType[*berth.StartError](err); !ok || failure.Phase != "starting" {
				t.Error(err)
			}
		}
		if cs := w.engine.Containers(); len(cs) != 1 || cs[0].Pool != "" {
			t.Errorf("the stranger's container was touched: %+v", cs)
		}
		w.engine.RemoveContainer(name)
	})
}
