package berth_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/audit"
	"github.com/berth-go/berth/pool"
)

// TestAnInstanceThatComesBackBringsNoSecondContainer: while the cloud advises to leave an instance, a repository gets a
// container elsewhere. When the advice is taken back, there must not be two that tasks can join.
func TestAnInstanceThatComesBackBringsNoSecondContainer(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 1, MaxInstances: 2}}, func(t *testing.T, w *world) {
		first := w.create("t1", repoA)
		w.cloud.Foretell(first.Info().Instance.CloudID, pool.OutlookRebalance, "advice")
		after(time.Minute)
		second := w.create("t2", repoA)
		if second.Info().Instance.ID == first.Info().Instance.ID {
			t.Fatal("the second task is on the instance that is to be left")
		}
		w.cloud.Foretell(first.Info().Instance.CloudID, "", "")
		after(time.Minute)
		if state := w.instances()[0].State; state != "ready" {
			t.Fatalf("the instance is %s", state)
		}
		snapshot, err := audit.Take(t.Context(), w.store)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range snapshot.Faults(1) {
			t.Error(fault)
		}
		if third := w.create("t3", repoA); third.Info().Container.ID != second.Info().Container.ID {
			t.Error("the third task has joined the first container")
		}
		w.terminate(first)
		w.terminate(second)
	})
}

// TestTheLastContainerOfAKeyIsJoined, also if another one was made beside it, which has ended: a new one would take an
// instance more, or wait for it.
func TestTheLastContainerOfAKeyIsJoined(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 1, MaxInstances: 2}}, func(t *testing.T, w *world) {
		first := w.create("t1", repoA)
		w.cloud.Foretell(first.Info().Instance.CloudID, pool.OutlookRebalance, "advice")
		after(time.Minute)
		second := w.create("t2", repoA)
		w.cloud.Foretell(first.Info().Instance.CloudID, "", "")
		after(time.Minute)
		w.terminate(second)
		if third := w.create("t3", repoA); third.Info().Container.ID != first.Info().Container.ID {
			t.Errorf("the third task is in container %s, not in %s", third.Info().Container.ID, first.Info().Container.ID)
		}
	})
}
