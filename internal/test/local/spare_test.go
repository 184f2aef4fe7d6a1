package local_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
)

// spareGroups lists the cgroups of the rooms that were opened ahead, taken or not.
const spareGroups = "ls -d /sys/fs/cgroup/pids/room-spare-* /sys/fs/cgroup/room-spare-* 2>/dev/null"

// TestSessionsTakeTheRoomThatWasOpenedAhead, and get another one if something has ended it.
func TestSessionsTakeTheRoomThatWasOpenedAhead(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{})
	url := l.Git.Create("org/repo", gittest.Small()).URL()
	first := l.Create("first", url, "")
	if first.Info().Instance.Isolation != berth.IsolationRooms {
		testenv.Missing(t, "needs an engine with rooms: %s", first.Info().Instance.IsolationReason)
	}
	container := first.Info().Container.ID
	spares := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(5 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
			got := len(strings.Fields(l.Inside(container, spareGroups)))
			if got == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("%d rooms were opened ahead; want %d", got, want)
			}
		}
	}
	look := func(s *berth.Session, inSpare int) {
		t.Helper()
		got := local.Sh(t, s, "pwd; echo x > f && cat f; grep -q /room-spare- /proc/1/cgroup && echo 1 || echo 0")
		if want := fmt.Sprintf("%s\nx\n%d", s.Info().Workdir, inSpare); got != want {
			t.Errorf("inside: got %q, want %q", got, want)
		}
	}
	look(first, 0)
	spares(1)
	second := l.Create("second", url, "")
	look(second, 1)
	spares(2) // the second session's, and the next one

	// Something kills the init of the room that is ahead.
	l.Inside(container, `for pid in $(cat $(ls -d /sys/fs/cgroup/pids/room-spare-* /sys/fs/cgroup/room-spare-* 2>/dev/null | sed s,$,/cgroup.procs,)); do
		grep -q /sessions/ /proc/$pid/mountinfo || kill -9 $pid
	done`)
	third := l.Create("third", url, "")
	look(third, 0)
	look(second, 1)
	spares(2)
	for _, s := range []*berth.Session{second, third, first} {
		if err := l.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Error(err)
		}
	}
}
