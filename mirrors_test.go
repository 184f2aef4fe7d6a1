package berth_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// mirrored returns the repositories whose mirrors lie on some instance.
func (w *world) mirrored() (names []string) {
	for _, m := range w.engine.Mirrors() {
		names = append(names, m.Key.Repository.Name())
	}
	slices.Sort(names)
	return names
}

// TestLeastRecentlyUsedMirrorsGo holds the disk budget: beyond it the mirror goes that was used least recently, and one
// that a container uses stays.
func TestLeastRecentlyUsedMirrorsGo(t *testing.T) {
	repo := func(n int) string { return fmt.Sprintf("https://github.com/acme/r%d", n) }
	inWorld(t, setup{Config: berth.Config{MirrorBudget: 3 << 20}}, func(t *testing.T, w *world) { // three of them
		held := w.create("held", repo(0)) // the oldest, and in use
		use := func(n int) {
			w.terminate(w.create(fmt.Sprint("t", n), repo(n)))
			after(time.Minute)
		}
		use(1)
		use(2)
		if got := w.mirrored(); !slices.Equal(got, []string{"r0", "r1", "r2"}) {
			t.Errorf("within the budget: %v", got)
		}
		use(1) // so that 2 is the least recently used
		use(3)
		if got := w.mirrored(); !slices.Equal(got, []string{"r0", "r1", "r3"}) {
			t.Errorf("after a fourth: %v", got)
		}
		w.terminate(held) // now it was used last
		use(4)
		if got := w.mirrored(); !slices.Equal(got, []string{"r0", "r3", "r4"}) {
			t.Errorf("after a fifth: %v", got)
		}
		if s := w.create("again", repo(0)); s.Info().Start != berth.StartWarm {
			t.Errorf("start %s over a mirror that is there", s.Info().Start)
		}
		if s := w.create("gone", repo(2)); s.Info().Start != berth.StartCold {
			t.Errorf("start %s over a mirror that went", s.Info().Start)
		}
	})
}

func TestFailedEvictionIsCounted(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MirrorBudget: 1 << 20}}, func(t *testing.T, w *world) {
		w.terminate(w.create("t1", repoA))
		w.engine.Fail(fake.RemoveMirror, 1, errors.New("busy"))
		w.terminate(w.create("t2", repoB))
		after(time.Minute)
		if got := w.mirrored(); len(got) != 2 || w.Stats().Containers.Errors == 0 {
			t.Errorf("mirrors %v; %+v", got, w.Stats().Containers)
		}
	})
}

// TestUnknownMirrorsAreAdopted: an engine holds a mirror that the store does not know, as after a crash.
func TestUnknownMirrorsAreAdopted(t *testing.T) {
	inWorld(t, setup{Config: berth.Config{MinInstances: 1}}, func(t *testing.T, w *world) {
		time.Sleep(time.Minute)
		in := w.instances()[0].ID
		key := naming.Key{Repository: naming.Repository{Host: "github.com", Path: "acme/left"}}
		w.engine.PlantContainer(in, "berth", w.poolUID(), key)
		after(2 * time.Minute)
		w.view(func(v store.View) error {
			mirrors, err := store.Get[*store.Mirrors](v, store.MirrorsKey(in))
			if err == nil && (len(mirrors.Entries) != 1 || mirrors.Entries[0].Name != key.ContainerName("berth")) {
				t.Errorf("%+v", mirrors)
			}
			return err
		})
	})
}
