package session_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// mirrored returns the names of the repositories that have a mirror on an instance.
func mirrored(w *world.World) (names []string) {
	for _, m := range w.Engine.Mirrors() {
		names = append(names, m.Key.Repository.Name())
	}
	slices.Sort(names)
	return names
}

// TestLeastRecentlyUsedMirrorsGo: beyond the disk budget, the least recently used mirror is removed. A mirror that a
// container uses stays.
func TestLeastRecentlyUsedMirrorsGo(t *testing.T) {
	repo := func(n int) string { return fmt.Sprintf("https://github.com/acme/r%d", n) }
	world.Run(t, world.Setup{Config: berth.Config{MirrorBudget: 3 << 20}}, func(t *testing.T, w *world.World) { // three of them
		held := w.Create("held", repo(0)) // the oldest, and in use
		use := func(n int) {
			w.Terminate(w.Create(fmt.Sprint("t", n), repo(n)))
			world.After(time.Minute)
		}
		use(1)
		use(2)
		if got := mirrored(w); !slices.Equal(got, []string{"r0", "r1", "r2"}) {
			t.Errorf("within the budget: %v", got)
		}
		use(1) // so that 2 is the least recently used
		use(3)
		if got := mirrored(w); !slices.Equal(got, []string{"r0", "r1", "r3"}) {
			t.Errorf("after a fourth: %v", got)
		}
		w.Terminate(held) // now it was used last
		use(4)
		if got := mirrored(w); !slices.Equal(got, []string{"r0", "r3", "r4"}) {
			t.Errorf("after a fifth: %v", got)
		}
		if s := w.Create("again", repo(0)); s.Info().Start != berth.StartWarm {
			t.Errorf("start %s with a mirror", s.Info().Start)
		}
		if s := w.Create("gone", repo(2)); s.Info().Start != berth.StartCold {
			t.Errorf("start %s without a mirror", s.Info().Start)
		}
	})
}

func TestFailedEvictionIsCounted(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MirrorBudget: 1 << 20}}, func(t *testing.T, w *world.World) {
		w.Terminate(w.Create("t1", world.RepoA))
		w.Engine.Fail(fake.RemoveMirror, 1, errors.New("busy"))
		w.Terminate(w.Create("t2", world.RepoB))
		world.After(time.Minute)
		if got := mirrored(w); len(got) != 2 || w.Stats().Containers.Errors == 0 {
			t.Errorf("mirrors %v; %+v", got, w.Stats().Containers)
		}
	})
}

// TestUnknownMirrorsAreAdopted: after a crash, an engine may hold a mirror that has no record.
func TestUnknownMirrorsAreAdopted(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world.World) {
		time.Sleep(time.Minute)
		in := w.InstanceRecords()[0].ID
		key := naming.Key{Repository: naming.Repository{Host: "github.com", Path: "acme/left"}}
		w.Engine.PlantContainer(in, "berth", w.PoolUID(), key)
		world.After(2 * time.Minute)
		w.View(func(v store.View) error {
			mirrors, err := store.Get[*store.Mirrors](v, store.MirrorsKey(in))
			if err == nil && (len(mirrors.Entries) != 1 || mirrors.Entries[0].Name != key.ContainerName("berth")) {
				t.Errorf("%+v", mirrors)
			}
			return err
		})
	})
}
