package local_test

import (
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/local"
)

// grabs are deeds of a session that takes all that it gets.
var grabs = []deed{
	{"a bound of memory by default", func(t *testing.T, s *scene) {
		in, err := s.Docker.ContainerInspect(t.Context(), s.mallory.Info().Container.ID, client.ContainerInspectOptions{})
		if err != nil || in.Container.HostConfig.Memory <= 0 || in.Container.HostConfig.MemorySwap > in.Container.HostConfig.Memory {
			t.Errorf("the container's memory is bounded by %d, with swap %d, %v", in.Container.HostConfig.Memory, in.Container.HostConfig.MemorySwap, err)
		}
		if got := local.Sh(t, s.mallory, "cat /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/memory.max 2>/dev/null; true"); got != fmt.Sprint(300<<20) {
			t.Errorf("the session's memory is bounded by %s", got)
		}
	}},
	{"memory in one process", func(t *testing.T, s *scene) { s.exhaust(t, "head -c 2G /dev/zero | tail") }},
	{"memory in small processes", func(t *testing.T, s *scene) { s.exhaust(t, "$h eat") }},
	{"memory in files", func(t *testing.T, s *scene) {
		s.run(t, s.mallory, `for d in /tmp /var/tmp /dev/shm; do head -c 1G /dev/zero >$d/fill 2>/dev/null; test $(stat -c %s $d/fill) -le 50331648 || echo harm: $d; done; echo done`)
		s.checkUnharmed(t)
		s.run(t, s.mallory, "rm -f /tmp/fill /var/tmp/fill /dev/shm/fill; echo done")
	}},
	{"empty files", func(t *testing.T, s *scene) {
		s.run(t, s.mallory, `for d in /tmp /var/tmp /dev/shm; do cd $d; seq 25000 | xargs touch 2>/dev/null; n=$(ls -f | wc -l); test $n -le 20010 || echo harm: $n files in $d; done; echo done`)
		s.checkUnharmed(t)
		s.run(t, s.mallory, `for d in /tmp /var/tmp /dev/shm; do cd $d && ls | xargs rm; done; echo done`)
	}},
	{"the processors", func(t *testing.T, s *scene) {
		// The fair part of one process on two processors is a half. Without rooms, it gets a twentieth.
		var part float64
		for tries := 0; tries < 6 && part < 0.1; tries++ { // other programs of the machine may disturb
			begin := time.Now().Add(time.Second << min(2*tries, 4)).UnixMilli() // when all of them run
			window := fmt.Sprintf("%d %d", begin, begin+1500)
			all := make(chan int, 1)
			go func() { all <- loops(t, s, s.mallory, "$h spin 20 "+window) }()
			mine := loops(t, s, s.neighbour.Session, "$h spin 1 "+window)
			part = float64(mine) / float64(mine+<-all)
			t.Logf("beside 20 processes that spin, one of the neighbour gets %.3f of the time", part)
		}
		if !(part >= 0.1) {
			t.Error("that is too little")
		}
	}},
	used("processes", 100), used("terminals", 10), used("memory-segments", 2), used("semaphores", 2), used("message-queues", 2),
	used("queues", 2), used("inotify-instances", 10), used("pipes", 5), used("timers", 100), used("files", 1000),
	used("locked-memory", 1), used("datagrams", 5),
}

// used returns the deed of using up things of one kind. The hostile session must get some for it to be a test.
func used(kind string, least int) deed {
	return deed{"all " + kind, func(t *testing.T, s *scene) {
		said, stop := s.keep(t, s.mallory, "ulimit -n $(ulimit -Hn); exec $h use "+kind+" 1", "all")
		defer stop()
		t.Log(strings.Join(strings.Fields(said), " "))
		if n := strings.Fields(said); len(n) < 2 || number(n[1]) < least {
			t.Errorf("the hostile session got too few of the kind to show anything: %s", said)
		}
		for _, w := range []*witness{s.neighbour, s.away} {
			s.run(t, w.Session, "$h try "+kind+" </dev/null")
		}
		s.checkUnharmed(t)
	}}
}

func number(text string) int { n, _ := strconv.Atoi(text); return n }

func loops(t *testing.T, s *scene, by *berth.Session, script string) int {
	said := s.run(t, by, script)
	t.Log(strings.TrimSpace(said))
	return number(strings.Fields(said + " 0")[0])
}

// room returns the name of the cgroup of a session's room, or "" if the session has no process.
func (s *scene) room(t *testing.T, of *berth.Session) string {
	t.Helper()
	name := strings.TrimSpace(s.Inside(of.Info().Container.ID, "uid=$(stat -c %u /sessions/"+of.ID()+`)
for pid in $(ps -eo uid=,pid= | awk "\$1 == $uid { print \$2 }"); do # some may end meanwhile
	room=$(sed -n 's|.*/\(room-[^/]*\)$|\1|p' /proc/$pid/cgroup 2>/dev/null | head -n 1)
	[ -z "$room" ] || { echo "$room"; break; }
done`))
	if name != "" && !strings.HasPrefix(name, "room-") {
		t.Fatalf("the session's process is in no room's cgroup: %q", name)
	}
	return name
}

// exhaust lets the hostile session use up its memory, until the kernel kills a process of it.
func (s *scene) exhaust(t *testing.T, script string) {
	t.Helper()
	_, end := s.keep(t, s.mallory, "echo here; sleep 1000", "here")
	room := s.room(t, s.mallory)
	end()
	kills := func() int {
		group := "/sys/fs/cgroup/memory/" + room + "/memory.oom_control /sys/fs/cgroup/" + room + "/memory.events"
		return number(s.Inside(s.mallory.Info().Container.ID, "cat "+group+" 2>/dev/null | awk '$1 == \"oom_kill\" { n = $2 } END { print n + 0 }'"))
	}
	before := kills()
	_, stop := s.keep(t, s.mallory, "("+script+") >/dev/null & echo all; wait; sleep 1000", "all")
	defer stop()
	for deadline := time.Now().Add(30 * time.Second); kills() == before; {
		if time.Now().After(deadline) {
			t.Error("the kernel has killed nothing: the session did not use up its memory")
			break
		}
		s.checkUnharmed(t)
	}
	s.checkUnharmed(t)
}
