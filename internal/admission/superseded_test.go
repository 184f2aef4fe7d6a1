package admission_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/pool"
)

// TestAnInstanceThatComesBackBringsNoSecondContainer: while the cloud advises to leave an instance, a repository gets a
// container elsewhere. When the cloud takes the advice back, tasks must still be able to join only one of the two.
func TestAnInstanceThatComesBackBringsNoSecondContainer(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1, MaxInstances: 2}}, func(t *testing.T, w *world.World) {
		first := w.Create("t1", world.RepoA)
		w.Cloud.Foretell(first.Info().Instance.CloudID, pool.OutlookRebalance, "advice")
		world.After(time.Minute)
		second := w.Create("t2", world.RepoA)
		if second.Info().Instance.ID == first.Info().Instance.ID {
			t.Fatal("the second task is on the instance that the cloud advises to leave")
		}
		w.Cloud.Foretell(first.Info().Instance.CloudID, "", "")
		world.After(time.Minute)
		if state := w.InstanceRecords()[0].State; state != "ready" {
			t.Fatalf("the instance is %s", state)
		}
		snapshot, err := audit.Take(t.Context(), w.Store)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range snapshot.Faults(1) {
			t.Error(fault)
		}
		if third := w.Create("t3", world.RepoA); third.Info().Container.ID != second.Info().Container.ID {
			t.Error("the third task has joined the first container")
		}
		w.Terminate(first)
		w.Terminate(second)
	})
}

// TestTheLastContainerOfAKeyIsJoined: a repository had a second container for a while. The first one is joined again,
// since a new one might need one more instance.
func TestTheLastContainerOfAKeyIsJoined(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1, MaxInstances: 2}}, func(t *testing.T, w *world.World) {
		first := w.Create("t1", world.RepoA)
		w.Cloud.Foretell(first.Info().Instance.CloudID, pool.OutlookRebalance, "advice")
		world.After(time.Minute)
		second := w.Create("t2", world.RepoA)
		w.Cloud.Foretell(first.Info().Instance.CloudID, "", "")
		world.After(time.Minute)
		w.Terminate(second)
		if third := w.Create("t3", world.RepoA); third.Info().Container.ID != first.Info().Container.ID {
			t.Errorf("the third task is in container %s, not in %s", third.Info().Container.ID, first.Info().Container.ID)
		}
	})
}
