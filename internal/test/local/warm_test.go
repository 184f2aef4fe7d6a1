package local_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
)

// waitState waits until the pool's only container is in a state.
func waitState(t *testing.T, l *local.Pool, want string) berth.RepositoryInfo {
	t.Helper()
	var last berth.RepositoryInfo
	for deadline := time.Now().Add(3 * time.Minute); time.Now().Before(deadline); time.Sleep(20 * time.Millisecond) {
		for r, err := range l.Repositories(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if last = r; r.State == want {
				return r
			}
		}
	}
	t.Fatalf("the container is %+v; want %s", last, want)
	return last
}

// TestLocalContainerStaysAndIsJoined: nothing of the session before is left in it.
func TestLocalContainerStaysAndIsJoined(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{ContainerIdleTimeout: time.Hour})
	url := l.Git.Create("org/repo", gittest.Small()).URL()
	begun := time.Now()
	first := l.Create("first", url, "")
	cold := time.Since(begun)
	local.Sh(t, first, "echo secret > $HOME/left; echo secret > /tmp/left; sleep 1000 >/dev/null 2>&1 &  mkdir -p /var/tmp/x && echo secret > /var/tmp/x/left")
	if err := l.TerminateSession(t.Context(), first.ID()); err != nil {
		t.Fatal(err)
	}
	if got := waitState(t, l, "empty"); got.Tasks != 0 || got.Container != first.Info().Container {
		t.Errorf("%+v", got)
	}
	if len(l.Running()) != 1 {
		t.Fatalf("%v", l.Containers())
	}
	begun = time.Now()
	second := l.Create("second", url, "")
	t.Logf("cold: %v, in the container that stayed: %v", cold, time.Since(begun))
	if got := second.Info(); got.Start != berth.StartAttached || got.Container != first.Info().Container {
		t.Errorf("%+v", got)
	}
	if left := local.Sh(t, second, "ls $HOME/left /tmp/left /var/tmp/x/left 2>/dev/null; pgrep sleep; true"); left != "" {
		t.Errorf("left: %s", left)
	}
	if left := l.Inside(first.Info().Container.ID, "find / -xdev -name left 2>/dev/null; true"); left != "" {
		t.Errorf("left: %s", left)
	}
}

func TestLocalContainerGoesAfterItsTimeout(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{ContainerIdleTimeout: 3 * time.Second})
	s := l.Create("t", l.Git.Create("org/repo", gittest.Small()).URL(), "")
	if err := l.TerminateSession(t.Context(), s.ID()); err != nil {
		t.Fatal(err)
	}
	l.WaitGone(t)
}

func TestLocalWarmBringsAContainerUp(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{MinInstances: 1, Warm: berth.Warm{Containers: 1}, ContainerIdleTimeout: time.Second})
	remote := l.Git.Create("org/repo", gittest.Small())
	if err := l.Warm(t.Context(), remote.URL(), "", time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	waitState(t, l, "empty")
	before := remote.Requests()
	begun := time.Now()
	s := l.Create("first", remote.URL(), "")
	t.Logf("the first task took %v", time.Since(begun))
	if got := s.Info(); got.Start != berth.StartAttached {
		t.Errorf("%+v", got)
	}
	t.Logf("the remote had %d requests for it", remote.Requests()-before)
	if err := l.TerminateSession(t.Context(), s.ID()); err != nil {
		t.Fatal(err)
	}
	waitState(t, l, "empty")
	if err := l.Cool(t.Context(), remote.URL(), ""); err != nil {
		t.Fatal(err)
	}
	l.WaitGone(t)
}
