package berth_test

import (
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

const rootless = "the engine is rootless"

func TestInstancesSayWhatSeparatesTheirSessions(t *testing.T) {
	for name, c := range map[string]struct {
		noRooms string
		quotas  bool
		copies  string
		want    berth.Isolation
		without int
	}{
		"rooms":             {"", false, "", berth.IsolationRooms, 0},
		"rooms with quotas": {"", true, "", berth.IsolationRooms, 0},
		"an old kernel":     {"", false, "the kernel is too old", berth.IsolationRooms, 0},
		"no rooms":          {rootless, false, "", berth.IsolationUID, 1},
	} {
		t.Run(name, func(t *testing.T) {
			world.Run(t, world.Setup{Engine: fake.EngineOptions{NoRooms: c.noRooms, DiskQuota: c.quotas, NoSharedCheckouts: c.copies}}, func(t *testing.T, w *world.World) {
				other := w.NewProvider() // another replica
				s := w.Create("t1", world.RepoA)
				w.Create("t2", world.RepoB)
				in := onlyInstance(w)
				if in.Isolation != c.want || in.IsolationReason != c.noRooms || in.DiskQuota != c.quotas {
					t.Errorf("Instances says %q, because %q, quotas %t; want %q, because %q", in.Isolation, in.IsolationReason, in.DiskQuota, c.want, c.noRooms)
				}
				seen, err := other.GetSession(t.Context(), s.ID())
				if err != nil {
					t.Fatal(err)
				}
				copies := c.copies
				if c.noRooms != "" {
					copies = orchestrator.NoRooms
				}
				for _, info := range []berth.InstanceInfo{in, s.Info().Instance, seen.Info().Instance} {
					if info.SharedCheckouts != (copies == "") || info.CheckoutReason != copies {
						t.Errorf("checkouts are shared: %t, because %q; want %q", info.SharedCheckouts, info.CheckoutReason, copies)
					}
				}
				for _, info := range []berth.InstanceInfo{s.Info().Instance, seen.Info().Instance} {
					if info.Isolation != c.want || info.IsolationReason != c.noRooms || info.DiskQuota != c.quotas {
						t.Errorf("a session says %q, because %q, quotas %t", info.Isolation, info.IsolationReason, info.DiskQuota)
					}
				}
				if n := w.Stats().Containers.WithoutRooms; n != c.without {
					t.Errorf("Stats counts %d instances without rooms; want %d", n, c.without)
				}
				if n := strings.Count(w.Logged(), "have no rooms of their own"); n != c.without {
					t.Errorf("the log says so %d times; want %d:\n%s", n, c.without, w.Logged())
				}
			})
		})
	}
}

func TestInstancesWithoutRoomsAreRefused(t *testing.T) {
	setup := world.Setup{Config: berth.Config{RequireIsolation: true}, Engine: fake.EngineOptions{NoRooms: rootless}}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		_, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA))
		if start, ok := errors.AsType[*berth.StartError](err); !ok || start.Phase != "starting" || !errors.Is(err, orchestrator.ErrNoIsolation) {
			t.Fatalf("the error is %v", err)
		}
		for _, words := range []string{rootless, "Config.RequireIsolation", "warden"} {
			if !strings.Contains(err.Error(), words) {
				t.Errorf("the error does not say %q: %v", words, err)
			}
		}
		if berth.Retryable(err) {
			t.Errorf("it is worth a repetition: %v", err)
		}
		if n := w.Engine.Calls(fake.Ensure); n != 1 {
			t.Errorf("the engine was asked %d times", n)
		}
		if all := w.Engine.Containers(); len(all) > 0 {
			t.Errorf("these are left: %+v", all)
		}
		if in := onlyInstance(w); in.Isolation != berth.IsolationUID || in.IsolationReason != rootless || in.Tasks != 0 {
			t.Errorf("the instance is %+v", in)
		}

		w.Engine.RefuseRooms(onlyInstance(w).ID, "") // somebody has changed the engine
		s := w.Create("t", world.RepoA)
		if in := s.Info().Instance; in.Isolation != berth.IsolationRooms || in.IsolationReason != "" {
			t.Errorf("afterwards the instance is %+v", in)
		}
		if n := w.Stats().Containers.WithoutRooms; n != 0 {
			t.Errorf("Stats still counts %d instances without rooms", n)
		}
	})
}

// TestContainersWithoutRoomsTakeNoSessionThatRequiresOne: an earlier process has started the container without
// RequireIsolation.
func TestContainersWithoutRoomsTakeNoSessionThatRequiresOne(t *testing.T) {
	world.Run(t, world.Setup{Engine: fake.EngineOptions{NoRooms: rootless}}, func(t *testing.T, w *world.World) {
		old := w.Create("old", world.RepoA)
		w.Engine.RefuseRooms(onlyInstance(w).ID, "")
		w.Config.RequireIsolation = true
		strict := w.NewProvider()
		_, err := strict.CreateSession(t.Context(), world.Request("new", world.RepoA))
		if !errors.Is(err, orchestrator.ErrNoIsolation) || berth.Retryable(err) {
			t.Errorf("joining a container without rooms: %v", err)
		}
		if err := world.Get(t, strict, old.ID()).Command(t.Context(), "true").Run(); err != nil {
			t.Errorf("the session that is there: %v", err)
		}
		if err := strict.TerminateSession(t.Context(), old.ID()); err != nil {
			t.Fatal(err)
		}
		world.Create(t, strict, world.Request("new", world.RepoA))
	})
}

func TestImagesByDigest(t *testing.T) {
	digest := "example.org/work@sha256:" + strings.Repeat("0f", 32)
	for _, image := range []string{"", "work", "work:1", "work@sha256:12", "work@sha1:" + strings.Repeat("0", 40), "@sha256:" + strings.Repeat("0f", 32)} {
		_, err := fake.NewProvider(fake.Options{Config: berth.Config{RequireImageDigest: true, Image: image}})
		if e, ok := errors.AsType[*berth.FieldError](err); !ok || e.Field != "Config.Image" {
			t.Errorf("Image %q: %v", image, err)
		}
	}
	cfg := berth.Config{RequireImageDigest: true, Image: digest, ImageFor: func(r naming.Repository) string {
		if strings.HasSuffix(r.Path, "skates") {
			return "work:latest"
		}
		return ""
	}}
	world.Run(t, world.Setup{Config: cfg}, func(t *testing.T, w *world.World) {
		w.Create("t1", world.RepoA)
		begin := time.Now()
		_, err := w.CreateSession(t.Context(), world.Request("t2", world.RepoB))
		if e, ok := errors.AsType[*berth.FieldError](err); !ok || e.Field != "Config.ImageFor" || !strings.Contains(err.Error(), "work:latest") {
			t.Errorf("ImageFor returns a tag: %v", err)
		}
		if time.Since(begin) != 0 {
			t.Errorf("the refusal took %v", time.Since(begin))
		}
	})
}
