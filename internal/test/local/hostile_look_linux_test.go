package local_test

import (
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
)

// looks are deeds of a session that looks for others, tries to reach them, or to get rights that it does not have.
var looks = []deed{
	{"processes of others", func(t *testing.T, s *scene) {
		s.run(t, s.mallory, `$h intrude; grep -la 'secret-[a]rgument' /proc/[0-9]*/cmdline /proc/[0-9]*/task/*/cmdline 2>/dev/null | sed 's/^/harm: /'
			for p in /proc/[0-9]*; do test $(stat -c %u $p 2>/dev/null || id -u) = $(id -u) || test $p = /proc/1 || echo harm: $p; done; echo done`)
	}},
	{"directories of others", func(t *testing.T, s *scene) {
		local.Sh(t, s.eve, "chmod -R 0777 /sessions/"+s.eve.ID())
		for _, other := range []string{s.neighbour.ID(), s.eve.ID(), s.away.ID()} {
			s.run(t, s.mallory, "for d in /sessions /proc/1/root/sessions /proc/self/root/sessions; do stat $d/"+other+" 2>/dev/null && echo harm; done; ls -A /sessions | grep "+other+" && echo harm; echo done")
		}
	}},
	{"a descriptor from an accomplice", func(t *testing.T, s *scene) {
		needScopes(t)
		_, stop := s.keep(t, s.eve, "chmod 0777 $HOME; exec $h hand @eve $HOME", "ready")
		defer stop()
		s.run(t, s.mallory, "$h take @eve")
		if left := local.Sh(t, s.eve, "find /sessions/"+s.eve.ID()+" ! -uid $(id -u)"); left != "" {
			t.Errorf("files of another are in an accomplice's directory: %s", left)
		}
	}},
	{"abstract sockets of others", func(t *testing.T, s *scene) {
		needScopes(t)
		_, stop := s.keep(t, s.neighbour.Session, "exec $h answer unix @service", "ready")
		defer stop()
		s.run(t, s.neighbour.Session, "$h dial @service | sed s/harm/own/; echo done")
		s.run(t, s.mallory, "$h dial @service")
	}},
	{"sockets of the agent and the warden", func(t *testing.T, s *scene) {
		s.run(t, s.mallory, `$h dial /berth/run/agent.sock /berth/warden/warden.sock /berth/warden/.new /berth/mirror/.home/reach
			for p in /proc/[0-9]*/root; do $h dial $p/berth/run/agent.sock | grep harm; done
			find /berth -type s 2>/dev/null | while read f; do $h dial $f; done | grep harm; echo done`)
	}},
	{"rights", func(t *testing.T, s *scene) { s.run(t, s.mallory, "$h deny") }},
	{"the machine's settings", func(t *testing.T, s *scene) {
		s.run(t, s.mallory, `for f in /proc/kcore /proc/keys /proc/kallsyms /proc/timer_list /proc/sched_debug /proc/sysrq-trigger /proc/kmsg /dev/mem /dev/kmsg; do
				test -c $f && continue; head -c 64 $f 2>/dev/null | tr -d '\0' | grep -qav '^0* ' && echo harm: $f is read; done
			for f in $(find /proc /sys -type f -writable 2>/dev/null | grep -v '^/proc/[0-9]' | grep -v '^/proc/pressure/'); do
				test -f $f && (echo 1 >$f) 2>/dev/null && echo harm: $f is written; done
			for f in /proc/sys/kernel/core_pattern /proc/sys/vm/drop_caches /proc/sys/fs/file-max /sys/kernel/mm/transparent_hugepage/enabled /sys/fs/cgroup/memory/memory.limit_in_bytes /sys/fs/cgroup/pids/pids.max /sys/fs/cgroup/cgroup.procs; do
				(echo 1 >$f) 2>/dev/null && echo harm: $f is written; done
			ls /sys/firmware /proc/acpi 2>/dev/null | grep -v : | grep . && echo harm; echo done`)
	}},
	{"files of the container", func(t *testing.T, s *scene) {
		s.run(t, s.mallory, `find / -xdev \( -type d -o -type f \) -writable 2>/dev/null | grep -vE '^(/tmp|/var/tmp|/dev/shm|/dev/mqueue|/sessions/.*)$' | sed 's/^/harm: /'
			for d in /berth /berth/bin /berth/mirror /berth/run /berth/warden /run /var/lock /run/lock /etc /usr/bin /dev /sessions /sys/fs/cgroup; do
				(echo x >$d/planted) 2>/dev/null && echo harm: $d/planted; mkdir $d/planted-dir 2>/dev/null && echo harm: $d; done
			(echo x >>/berth/bin/berth-agent) 2>/dev/null && echo harm; (echo x >>/etc/passwd) 2>/dev/null && echo harm; echo done`)
	}},
	{"names that a neighbour uses", plant},
	{"names of others", func(t *testing.T, s *scene) {
		// Of the container's own repository it may know the name. /etc/passwd and /proc/net tell of its neighbours: see docs/security.md.
		others := s.away.ID() + "|" + s.neighbour.ID() + "|" + s.eve.ID() + "|" + s.away.Info().Container.Name + "|" + s.away.Info().Container.ID + "|org-away|org/away|of-neighbour|of-away"
		s.run(t, s.mallory, `{ env; hostname; cat /etc/hostname /etc/hosts /etc/resolv.conf; grep -vE 'berth[0-9]+:' /etc/passwd /etc/group
				cat /proc/self/mountinfo /proc/self/mountstats /proc/mounts /proc/self/cgroup /proc/cgroups /proc/1/cgroup /proc/1/mountinfo /proc/1/environ
				cat /proc/locks /proc/sysvipc/* /proc/net/arp /proc/net/route /proc/swaps /proc/partitions /proc/cmdline /proc/keys
				find /proc/sys /sys/fs /sys/kernel /sys/class/net /dev /berth /sessions 2>&1
				git config --list --show-origin; git for-each-ref; find . -path ./.git/objects/pack -prune -o -print; cat .git/config .git/objects/info/alternates
			} 2>/dev/null | grep -aE '`+others+`' | sed 's/^/harm: /'; echo done`)
	}},
	{"core dumps", func(t *testing.T, s *scene) {
		s.run(t, s.mallory, `cd /tmp; sh -c 'kill -ABRT $$' 2>/dev/null; sh -c 'kill -SEGV $$' 2>/dev/null; ls -A /tmp | grep -i core && echo harm
			grep -q '^Max core file size  *[01]  *[01] ' /proc/self/limits || echo harm: the limit; rm -rf /tmp/*; echo done`)
	}},
}

// needScopes skips the test on a kernel whose Landlock cannot keep rooms from one another's abstract sockets.
func needScopes(t *testing.T) {
	t.Helper()
	const scoped, version = 6, 1
	if v, _, e := unix.Syscall(unix.SYS_LANDLOCK_CREATE_RULESET, 0, 0, version); e != 0 || v < scoped {
		testenv.Missing(t, "needs Linux 6.12 with Landlock, and has version %d of it: %v", v, e)
	}
}

// writablePlaces prints the directories that any user may write in, and others that often are such.
const writablePlaces = `find / -type d -perm -0002 2>/dev/null | grep -v -e ^/proc/ -e ^/sessions/; echo /tmp /var/tmp /dev/shm /run /var/lock /dev/mqueue`

// plant leaves links, files, pipes and directories where a neighbour finds them.
func plant(t *testing.T, s *scene) {
	dirs := strings.Join(strings.Fields(local.Sh(t, s.mallory, writablePlaces)), " ")
	s.run(t, s.mallory, `for d in `+dirs+`; do cd $d || continue
		ln -s /etc/passwd link; ln -s $HOME/kept build.log; mkfifo pipe; mkdir go-build .X11-unix; touch new; chmod 0777 pipe go-build new; done 2>/dev/null; echo done`)
	const found = `; do for n in link build.log pipe go-build .X11-unix new; do test -e $d/$n -o -L $d/$n && echo $d/$n; done; done; true`
	if planted := strings.Fields(local.Sh(t, s.mallory, "for d in "+dirs+found)); len(planted) < 3*6 {
		t.Errorf("only %s was planted: the test tests nothing", planted)
	}
	for _, w := range []*witness{s.neighbour, s.away} {
		if out := local.Sh(t, w.Session, "for d in "+dirs+found); out != "" {
			t.Errorf("a neighbour sees %s", strings.ReplaceAll(out, "\n", " "))
		}
	}
	s.checkUnharmed(t)
	s.run(t, s.mallory, `for d in `+dirs+`; do cd $d && rm -rf link build.log pipe go-build .X11-unix new; done 2>/dev/null; echo done`)
}
