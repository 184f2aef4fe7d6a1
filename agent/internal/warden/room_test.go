package warden

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/test/testenv"
)

// walls are what a session's own user gets to see, while the neighbour b has a queue, files and processes.
var walls = []struct{ rule, script, want string }{
	{"/proc shows the room's own processes only", "cat /proc/[0-9]*/comm | grep -c sleep; cat /proc/1/comm", "0\nberth-agent"},
	{"the neighbours' directories are not there", "stat /sessions/b 2>&1 | grep -c 'No such file'; ls /sessions/a", "1"},
	{"its own directory is writable", "echo x > /sessions/a/f; cat /sessions/a/f", "x"},
	{"the rest is not", "for d in / /etc /usr /berth/mirror /sessions /dev /sys/fs/cgroup; do test -w $d && echo $d; done; true", ""},
	{"its temporary directories are its own", "ls -A /tmp /dev/shm /var/tmp | grep -v : | tr -d '\\n'", ""},
	{"its queues are its own", "tail -n +2 /proc/sysvipc/msg", ""},
	{"tmp is bounded in bytes", "head -c 9M /dev/zero > /tmp/x 2>/dev/null; stat -c %s /tmp/x; rm /tmp/x", "8388608"},
	{"tmp is bounded in files", "for i in $(seq 200); do touch /tmp/f$i || break; done 2>/dev/null; ls /tmp | wc -l; rm /tmp/f*", "99"},
	{"shared memory is bounded", "head -c 9M /dev/zero > /dev/shm/x 2>/dev/null; stat -c %s /dev/shm/x; rm /dev/shm/x", "2097152"},
	{"terminals are bounded", "grep -c 'devpts.*max=4' /proc/mounts", "1"},
	{"the limits can be seen", "cd /sys/fs/cgroup; cat memory/memory.limit_in_bytes pids/pids.max memory.max pids.max 2>/dev/null", "134217728\n200"},
	{"the agent's directories are hidden", "ls -A /berth/run /berth/warden", "/berth/run:\n\n/berth/warden:"},
	{"proc is masked", "for f in /proc/keys /proc/timer_list; do head -c 1 $f; done; test -w /proc/sys/kernel/hostname || echo no", "no"},
	{"the init cannot be signalled", "kill -9 1 2>&1 | grep -c -i 'not permitted'; ls /proc/1/root 2>&1 | grep -c -i denied", "1\n1"},
}

// TestWalls holds what one session of a container gets to see of another.
func TestWalls(t *testing.T) {
	b := newGround(t).box(t)
	i, err := b.isolation()
	if err != nil || !i.Rooms || !i.Memory || !i.CPU || !i.PIDs {
		t.Fatalf("%v %+v", err, i)
	}
	own := 1 // filters of the warden's
	if i.DiskQuota {
		own++
	}
	before, err := os.ReadFile(procPath(b.pid, "mountinfo"))
	if err != nil {
		t.Fatal(err)
	}
	a := b.open(spec("a", 10001))
	b.open(spec("b", 10002))
	b.background("b", 10002, "echo secret > /tmp/f; echo secret > /sessions/b/f; exec sleep 1000 secret-argument 2>/dev/null || exec sleep 1000")
	if d := b.run("b", 10002, "/berth/bin/berth-agent queue; touch /dev/shm/b /var/tmp/b; tail -n +2 /proc/sysvipc/msg | wc -l"); d.Output != "1" {
		t.Fatalf("%+v", d)
	}

	for _, c := range walls {
		if d := b.run("a", 10001, c.script); d.Output != c.want {
			t.Errorf("%s: got %q, want %q", c.rule, d.Output, c.want)
		}
	}
	if d := b.run("a", 0, "touch /x /etc/x /berth/mirror/x 2>&1 | grep -c 'Read-only'"); d.Output != "3" {
		t.Errorf("root writes to the container: %+v", d)
	}
	agent, err := readStatus(b.pid)
	if err != nil {
		t.Fatal(err)
	}
	init, err := readStatus(b.hostPID(a.PID))
	if err != nil {
		t.Fatal(err)
	}
	if err := sameRights(agent, init, own); err != nil {
		t.Error(err)
	}
	if was, is := label(b.pid), label(b.hostPID(a.PID)); was != is {
		t.Errorf("the security module's label of the room is %q, of its container %q", is, was)
	} else {
		t.Logf("the security module's label is %q", is)
	}
	if agent["Seccomp"] != "2" {
		t.Errorf("the agent has no seccomp filter, so this test shows little: %v", agent)
	}
	b.checkFiles(b.hostPID(a.PID))
	b.share(2)
	b.close("a")
	b.close("b")
	if left := b.groups(roomPrefix + "*"); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	if after, err := os.ReadFile(procPath(b.pid, "mountinfo")); err != nil || string(after) != string(before) {
		t.Errorf("the container's mounts have changed: %v\n%s\n%s", err, before, after)
	}
	b.share(0)
}

// checkFiles checks that an init has no descriptor but those that it is meant to have.
func (b *box) checkFiles(init int) {
	b.t.Helper()
	for fd, want := range []string{"/dev/null", "/dev/null", "/dev/null", "socket:"} {
		if got, err := os.Readlink(procPath(init, fmt.Sprintf("fd/%d", fd))); err != nil || !strings.HasPrefix(got, want) {
			b.t.Errorf("descriptor %d of the init: %s %v", fd, got, err)
		}
	}
	all, err := os.ReadDir(procPath(init, "fd"))
	if err != nil {
		b.t.Error(err)
	}
	for _, e := range all {
		got, _ := os.Readlink(procPath(init, "fd/"+e.Name()))
		if len(e.Name()) > 1 || e.Name() > "3" {
			if !strings.HasPrefix(got, "anon_inode:[event") && !strings.HasPrefix(got, "pipe:") && !strings.Contains(got, "cgroup/memory") && !strings.Contains(got, "cpu.max") {
				b.t.Errorf("the init has %s as descriptor %s", got, e.Name())
			}
		}
	}
}

// TestVersion2 holds that rooms are made in a hierarchy of version 2, even if it has no controllers.
func TestVersion2(t *testing.T) {
	const unified = cgroupRoot + "/unified"
	if version2() {
		t.Skip("the other tests hold it here, with controllers")
	}
	if _, err := os.Stat(unified); err != nil {
		testenv.Missing(t, "needs a hierarchy of version 2 beside those of version 1: %v", err)
	}
	g := newGround(t, func(o *client.ContainerCreateOptions) {
		o.HostConfig.Binds[2] = unified + ":/sys/fs/cgroup"
	})
	b := g.box(t)
	if i, err := b.isolation(); err != nil || !i.Rooms || i.Cgroup != 2 {
		t.Fatalf("%+v %v", i, err)
	}
	o := b.open(spec("a", 10001))
	for pid, want := range map[int]string{b.pid: leaf, b.hostPID(o.PID): roomPrefix + "a"} {
		text, err := os.ReadFile(procPath(pid, "cgroup"))
		if want := "\n0::/docker/" + b.id + "/" + want + "\n"; err != nil || !strings.Contains(string(text), want) {
			t.Errorf("%q is not in %s", want, text)
		}
	}
	b.background("a", 10001, "sleep 1000")
	b.close("a")
	if left := b.groups(roomPrefix + "*"); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
}

// killHelper kills the process that makes the rooms of the container: it is the one in whose pid namespace the agent is the first.
func (b *box) killHelper() {
	b.t.Helper()
	all, _ := filepath.Glob("/proc/[0-9]*/cmdline")
	own, _ := os.Readlink(procPath(b.pid, "ns/pid"))
	for _, file := range all {
		text, _ := os.ReadFile(file)
		its, _ := os.Readlink(filepath.Join(filepath.Dir(file), "ns/pid"))
		if string(text) == "berth-agent\x00room\x00" && its == own {
			var pid int
			fmt.Sscan(filepath.Base(filepath.Dir(file)), &pid)
			if err := syscall.Kill(pid, syscall.SIGKILL); err != nil {
				b.t.Fatal(err)
			}
			return
		}
	}
	b.t.Fatal("no process makes rooms")
}

// TestGreed holds that a session that uses up what it has harms no other.
func TestGreed(t *testing.T) {
	b := newGround(t).box(t)
	b.open(spec("good", 10001))
	b.background("good", 10001, "i=0; while :; do i=$((i+1)); echo $i > /sessions/good/alive; sleep 0.01; done")
	alive := func(what string) {
		t.Helper()
		before := b.run("good", 10001, "cat /sessions/good/alive").Output
		b.until("the neighbour lives on beside "+what, func() error {
			if now := b.run("good", 10001, "cat /sessions/good/alive").Output; now == "" || now == before {
				return fmt.Errorf("at %q", now)
			}
			return nil
		})
	}
	b.open(spec("bad", 10002))
	for _, c := range []struct{ what, script string }{
		{"memory", "head -c 300M /dev/zero | tail"},
		{"tmpfs", "cp /dev/zero /tmp/x; cp /dev/zero /var/tmp/x; cp /dev/zero /dev/shm/x"},
		{"stopped processes", "for i in $(seq 100); do sh -c 'kill -STOP $$' > /dev/null 2>&1 & done"},
	} {
		d := b.run("bad", 10002, c.script+"; echo survived")
		alive(c.what)
		t.Logf("%s: %.200q", c.what, d.Output)
	}
	if d := b.run("bad", 10002, "head -c 300M /dev/zero | tail -c 300M > /dev/null; echo ${?}"); d.Output != "137" && !strings.Contains(d.Output, "Killed") {
		t.Errorf("300 MB in a room of 128 MB: %+v", d)
	}
	b.background("bad", 10002, `f() { f | f & }; f; f; f; exec sleep 1000`)
	b.until("the fork bomb is at its limit", func() error {
		if now := b.file(roomPrefix + "bad/pids.current"); now != "200" {
			return fmt.Errorf("pids: %s", now)
		}
		return nil
	})
	alive("a fork bomb")
	b.close("bad")
	alive("its end")
	b.close("good")
}

// TestEnd holds that nothing of a room outlives its init.
func TestEnd(t *testing.T) {
	b := newGround(t).box(t)
	s := spec("many", 10001)
	s.Limits.PIDs, s.Limits.MemoryBytes = 1200, 512<<20
	b.open(s)
	b.killHelper() // which would end soon by itself
	b.background("many", 10001, `for i in $(seq 500); do (sleep 1000 &); sleep 1000 & done; wait`)
	b.until("1000 processes run", func() error {
		var n int
		if fmt.Sscan(b.file(roomPrefix+"many/pids.current"), &n); n < 1000 {
			return fmt.Errorf("%d processes", n)
		}
		return nil
	})
	b.close("many")
	if left := b.groups(roomPrefix + "*"); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	if d := b.run("", 0, "cat /proc/[0-9]*/comm | grep -c sleep"); d.Output != "0" {
		t.Errorf("processes of the container: %q", d.Output)
	}
	b.open(s) // the name is free again
	if _, err := b.docker.ContainerKill(t.Context(), b.id, client.ContainerKillOptions{}); err != nil {
		t.Fatal(err)
	}
	b.until("the container's cgroups are gone", func() error {
		if left := b.groups(""); len(left) > 0 {
			return fmt.Errorf("left: %v", left)
		}
		return nil
	})
}

// TestTheWardenRestarts holds that rooms live on without it.
func TestTheWardenRestarts(t *testing.T) {
	g := newGround(t)
	b := g.box(t)
	o := b.open(spec("kept", 10001))
	b.open(spec("ended", 10002))
	host := b.hostPID(o.PID)
	g.remove(g.warden)
	if d := b.run("kept", 10001, "echo alive"); d.Output != "alive" {
		t.Fatalf("without a warden: %+v", d)
	}
	var took int64
	if err := b.rpc.Call("Agent.Kill", "ended", &took); err != nil {
		t.Fatal(err)
	}
	if err := b.rpc.Call("Agent.Close", "ended", &took); err == nil {
		t.Error("a room was closed without a warden")
	}
	g.startWarden(t)
	b.open(spec("new", 10003))
	if left := b.groups(roomPrefix + "ended"); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	b.share(2)
	if d := b.run("kept", 10001, "echo alive"); d.Output != "alive" {
		t.Errorf("with a new warden: %+v", d)
	}
	if err := b.rpc.Call("Agent.Open", spec("kept", 10001), &Opened{}); err == nil || !strings.Contains(err.Error(), "open already") {
		t.Errorf("a room is opened twice: %v", err)
	}
	if groups := b.groups(roomPrefix + "kept"); len(groups) != len(b.groups(roomPrefix+"new")) || len(groups) == 0 {
		t.Errorf("the cgroups of a room that lives: %v", groups)
	}
	if _, err := readStatus(host); err != nil {
		t.Error(err)
	}
	b.close("kept")
	b.close("new")
}
