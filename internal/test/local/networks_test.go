package local_test

import (
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
)

// TestFirstSessionsTakeNetworksThatAreReady: the container of the second repository takes the network that was made ahead, which no
// other has, and which goes with it.
func TestFirstSessionsTakeNetworksThatAreReady(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{Warm: berth.Warm{Networks: 1}})
	one, two := l.Git.Create("org/one", gittest.Small()).URL(), l.Git.Create("org/two", gittest.Small()).URL()
	first := l.Create("first", one, "")
	if first.Info().Instance.Isolation != berth.IsolationRooms {
		testenv.Missing(t, "needs an engine with rooms: %s", first.Info().Instance.IsolationReason)
	}
	awaitSpares(t, l, 1)
	second := takesNetwork(t, l, "second", two, 1)
	awaitSpares(t, l, 1) // for the next
	networks := map[string]bool{}
	for _, s := range []*berth.Session{first, second} {
		networks[l.Inside(s.Info().Container.ID, "readlink /proc/self/ns/net")] = true
		if out := local.Sh(t, s, "git ls-remote -q origin HEAD | wc -l; hostname -i 2>/dev/null >&2; cat /proc/sys/net/ipv4/ip_unprivileged_port_start"); out != "1\n0" {
			t.Errorf("inside %s: %q", s.Info().Container.Name, out)
		}
	}
	if len(networks) != 2 {
		t.Errorf("the containers share the network %v", networks)
	}
	if err := l.TerminateSession(t.Context(), second.ID()); err != nil {
		t.Error(err)
	}
	awaitGone(t, l, "berth-net-")

	third := takesNetwork(t, l, "third", two, 2)
	holder := spareContainers(t, l, "berth-net-")[0]
	if _, err := l.Docker.ContainerRemove(t.Context(), holder, client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	local.Sh(t, third, "true") // without a network, but with its files
}

// takesNetwork creates the first session of a repository until its container takes a network that is ready, which is the nth to do so. A
// network that the engine lists may not be quite ready.
func takesNetwork(t *testing.T, l *local.Pool, task, url string, n int64) *berth.Session {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); ; {
		awaitSpares(t, l, 1)
		ready := spareContainers(t, l, "berth-spare-")[0]
		s := l.Create(task, url, "")
		if l.Stats().Containers.Spares == n {
			if taken := spareContainers(t, l, "berth-net-"); len(taken) != 1 || taken[0] != ready {
				t.Errorf("%v are taken, want %s", taken, ready)
			}
			return s
		}
		if time.Now().After(deadline) {
			t.Fatal("no container takes a network that is ready")
		}
		if err := l.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Fatal(err)
		}
	}
}

func awaitGone(t *testing.T, l *local.Pool, prefix string) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); len(spareContainers(t, l, prefix)) > 0; time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the containers %s are not gone", prefix)
		}
	}
}
