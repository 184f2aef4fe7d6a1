package local_test

import (
	"context"
	"testing"
	"time"

	"github.com/berth-go/berth"
)

// ends are deeds of a session that does not want to end.
var ends = []deed{
	{"a fork bomb ends", func(t *testing.T, s *scene) {
		s.end(t, "f() { f | f & }; f; f; echo all; sleep 1000")
	}},
	{"processes that cling end", func(t *testing.T, s *scene) { s.end(t, "exec $h cling") }},
	{"a thousand processes end", func(t *testing.T, s *scene) { s.end(t, "exec $h use processes") }},
	{"directories that are renamed keep nobody", func(t *testing.T, s *scene) {
		_, stop := s.keep(t, s.mallory, "mkdir -p $HOME/moving; exec $h move $HOME/moving", "all")
		defer stop()
		s.end(t, "mkdir -p $HOME/moving; exec $h move $HOME/moving")
		again := s.Create("another", s.url, "")
		if err := s.TerminateSession(t.Context(), again.ID()); err != nil {
			t.Error(err)
		}
	}},
	{"a session that has no memory left ends", func(t *testing.T, s *scene) {
		s.end(t, "$h eat >/dev/null & echo all; wait")
	}},
	{"a hostile session ends", func(t *testing.T, s *scene) {
		for _, v := range []*berth.Session{s.eve, s.mallory} {
			s.terminate(t, v)
		}
	}},
}

// end lets a new hostile session do something until it is ended.
func (s *scene) end(t *testing.T, script string) {
	t.Helper()
	doomed := s.villain(t, "doomed")
	_, stop := s.keep(t, doomed, script, "all")
	defer stop()
	s.terminate(t, doomed)
}

// terminate ends a session and checks that nothing is left of it.
func (s *scene) terminate(t *testing.T, v *berth.Session) {
	t.Helper()
	id, container := v.ID(), v.Info().Container.ID
	uid := s.Inside(container, "stat -c %u /sessions/"+id)
	room := s.room(t, v)
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Second)
	defer cancel()
	began := time.Now()
	if err := s.TerminateSession(ctx, id); err != nil {
		t.Error(err)
	}
	t.Logf("it took %v", time.Since(began).Round(time.Millisecond))
	if room == "" {
		room = "room-" + id
	}
	left := s.Inside(container, awaitRemoval(uid)+"ps -eo uid,pid,args | awk '$1 == "+uid+"'; find /sessions /tmp /var/tmp /dev/shm -uid "+uid+" 2>/dev/null; ls -d /sessions/"+id+" /sys/fs/cgroup/*/"+room+" /sys/fs/cgroup/"+room+" 2>/dev/null; grep -c "+id+" /proc/mounts | grep -v '^0'")
	if left != "" || uid == "" {
		t.Errorf("left of the session of uid %q:\n%s", uid, left)
	}
}
