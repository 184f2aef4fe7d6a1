package warden

import (
	"fmt"
	"log/slog"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-go/berth/agent/internal/room"
)

// fakeFiles are cgroups in memory. They record what is done to them.
type fakeFiles struct {
	dirs   map[string]bool
	values map[string]string
	fails  map[string][]error // of the next writes to a file
	log    []string
}

func (f *fakeFiles) read(path string) (string, error) {
	value, ok := f.values[path]
	if !ok {
		return "", os.ErrNotExist
	}
	return value, nil
}

func (f *fakeFiles) write(file, value string) error {
	if failed := f.fails[path.Base(file)]; len(failed) > 0 {
		f.fails[path.Base(file)] = failed[1:]
		return failed[0]
	}
	if !f.dirs[path.Dir(file)] {
		return os.ErrNotExist
	}
	f.log = append(f.log, file+"="+value)
	if path.Base(file) == "cgroup.procs" { // the process leaves its cgroup
		for other, pids := range f.values {
			f.values[other] = strings.TrimSpace(strings.ReplaceAll(" "+pids+" ", " "+value+" ", " "))
		}
	}
	return nil
}

func (f *fakeFiles) mkdir(dir string) error {
	if f.dirs[dir] {
		return syscall.EEXIST
	}
	f.dirs[dir] = true
	f.log = append(f.log, "mkdir "+dir)
	return nil
}

func (f *fakeFiles) rmdir(dir string) error {
	if !f.dirs[dir] {
		return syscall.ENOENT
	}
	delete(f.dirs, dir)
	f.log = append(f.log, "rmdir "+dir)
	return nil
}

func (f *fakeFiles) list(dir string) (names []string) {
	for other := range f.dirs {
		if path.Dir(other) == dir {
			names = append(names, path.Base(other))
		}
	}
	slices.Sort(names)
	return names
}

func newFakeFiles(dirs ...string) *fakeFiles {
	f := &fakeFiles{dirs: make(map[string]bool), values: make(map[string]string), fails: make(map[string][]error)}
	for _, d := range dirs {
		f.dirs[d] = true
	}
	return f
}

// did checks what was done since the last call.
func (f *fakeFiles) did(t *testing.T, want ...string) {
	t.Helper()
	if !slices.Equal(f.log, want) {
		t.Errorf("did\n%s\nwant\n%s", strings.Join(f.log, "\n"), strings.Join(want, "\n"))
	}
	f.log = nil
}

var someLimits = room.Limits{MemoryBytes: 1 << 20, PIDs: 7, CPUWeight: 50}

func TestHierarchies(t *testing.T) {
	root1, root2 := t.TempDir(), t.TempDir()
	for _, dir := range []string{"memory", "cpu,cpuacct", "systemd", "unified"} {
		if err := os.Mkdir(filepath.Join(root1, dir), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(root2, "cgroup.controllers"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ name, root, text, want string }{
		{"version 1", root1, "4:memory:/docker/x\n3:cpu,cpuacct:/docker/x\n2:rdma:/docker/x\n1:name=systemd:/docker/x\n0::/docker/x\n",
			"memory=memory/docker/x cpu,cpuacct=cpu,cpuacct/docker/x name=systemd=systemd/docker/x =unified/docker/x"},
		{"version 2", root2, "0::/system.slice/docker-x.scope\n", "=system.slice/docker-x.scope"},
		{"version 2 with the rest of version 1", root2, "1:name=systemd:/x\n0::/x\n", "=x"},
		{"the root", root2, "0::/\n", "error"},
		{"outside of the warden's view", root2, "0::/../x\n", "error"},
		{"nothing is mounted", t.TempDir(), "4:memory:/x\n", "error"},
		{"no cgroups", root1, "hello\n", "error"},
	} {
		list, err := hierarchies(c.root, c.text)
		var got []string
		for _, h := range list {
			rel, _ := filepath.Rel(c.root, h.dir)
			got = append(got, h.name+"="+rel)
		}
		if err != nil {
			got = []string{"error"}
		}
		if s := strings.Join(got, " "); s != c.want {
			t.Errorf("%s: %s (%v), want %s", c.name, s, err, c.want)
		}
	}
}

func TestCgroup1(t *testing.T) {
	f := newFakeFiles("/m", "/c", "/p", "/d", "/u")
	c := newCgroup1(f, []hierarchy{{"memory", "/m"}, {"cpu,cpuacct", "/c"}, {"devices", "/d"}, {"pids", "/p"}, {"", "/u"}})
	if !c.has("memory") || !c.has("cpu") || !c.has("pids") || c.has("rdma") {
		t.Error("the controllers are not found")
	}
	if err := c.make("x", someLimits); err != nil {
		t.Fatal(err)
	}
	f.did(t, "mkdir /m/room-x", "/m/room-x/memory.limit_in_bytes=1048576", "/m/room-x/memory.memsw.limit_in_bytes=1048576",
		"/m/room-x/memory.kmem.tcp.limit_in_bytes=131072",
		"mkdir /c/room-x", "/c/room-x/cpu.shares=512", "mkdir /p/room-x", "/p/room-x/pids.max=7")
	if tasks, into := c.place("x"); fmt.Sprint(tasks, into) != "[/m/room-x/tasks /c/room-x/tasks /p/room-x/tasks]" {
		t.Errorf("a room is placed in %v %s", tasks, into)
	}
	if tasks, into := c.porch(); fmt.Sprint(tasks, into) != "[/d/tasks]/u" {
		t.Errorf("the process that makes rooms is placed in %v %s", tasks, into)
	}
	if ids := c.rooms(); !slices.Equal(ids, []string{"x"}) {
		t.Errorf("rooms: %v", ids)
	}
	if err := c.share(3); err != nil {
		t.Error(err)
	}
	f.did(t, "/c/cpu.shares=3072")
	if err := c.share(0); err != nil {
		t.Error(err)
	}
	f.did(t, "/c/cpu.shares=1024")
	for range 2 {
		if err := c.remove("x"); err != nil {
			t.Error(err)
		}
	}
	f.did(t, "rmdir /m/room-x", "rmdir /c/room-x", "rmdir /p/room-x")

	if err := c.make("none", room.Limits{}); err != nil {
		t.Fatal(err)
	}
	f.did(t, "mkdir /m/room-none", "mkdir /c/room-none", "mkdir /p/room-none")
	f.fails["pids.max"] = []error{syscall.EINVAL}
	if err := c.make("bad", someLimits); err == nil {
		t.Error("a limit that cannot be set is no error")
	}
	if ids := c.rooms(); !slices.Equal(ids, []string{"none"}) {
		t.Errorf("rooms after a failure: %v", ids)
	}
	f.fails["memory.memsw.limit_in_bytes"] = []error{os.ErrNotExist}
	if err := c.make("noswap", someLimits); err != nil {
		t.Errorf("without accounting of swap: %v", err)
	}
}

func TestCgroup2(t *testing.T) {
	f := newFakeFiles("/c")
	f.values["/c/cgroup.controllers"] = "cpuset cpu io memory pids"
	f.values["/c/cgroup.procs"] = "10 11"
	f.fails["cgroup.subtree_control"] = []error{syscall.EBUSY} // a process has forked meanwhile
	c, err := openCgroup2(f, "/c")
	if err != nil {
		t.Fatal(err)
	}
	f.did(t, "mkdir /c/berth-agent", "/c/berth-agent/cgroup.procs=10", "/c/berth-agent/cgroup.procs=11",
		"/c/cgroup.subtree_control=+cpu +memory +pids")
	if err := c.make("x", someLimits); err != nil {
		t.Fatal(err)
	}
	f.did(t, "mkdir /c/room-x", "/c/room-x/memory.max=1048576", "/c/room-x/memory.swap.max=0", "/c/room-x/memory.oom.group=0",
		"/c/room-x/cpu.weight=50", "/c/room-x/pids.max=7")
	if tasks, into := c.place("x"); len(tasks) != 0 || into != "/c/room-x" {
		t.Errorf("a room is placed in %v %s", tasks, into)
	}
	if ids := c.rooms(); !slices.Equal(ids, []string{"x"}) {
		t.Errorf("rooms: %v", ids)
	}
	for rooms, want := range map[int]string{0: "100", 3: "300", 1000: "10000"} {
		if err := c.share(rooms); err != nil {
			t.Error(err)
		}
		f.did(t, "/c/cpu.weight="+want)
	}
	if err := c.remove("x"); err != nil {
		t.Error(err)
	}
	f.did(t, "rmdir /c/room-x")

	again, err := openCgroup2(f, "/c/berth-agent") // by another warden
	if err != nil || again.dir != "/c" {
		t.Errorf("after a restart: %+v %v", again, err)
	}
	f.did(t, "/c/cgroup.subtree_control=+cpu +memory +pids")

	f.fails["memory.swap.max"] = []error{os.ErrNotExist}
	if err := c.make("noswap", someLimits); err != nil {
		t.Errorf("without accounting of swap: %v", err)
	}
	f.log = nil
	f.values["/c/cgroup.controllers"] = ""
	bare, err := openCgroup2(f, "/c")
	if err != nil || bare.has("memory") || bare.make("y", someLimits) != nil {
		t.Errorf("without controllers: %v", err)
	}
	f.did(t, "mkdir /c/room-y")
	f.values["/c/cgroup.controllers"] = "memory"
	f.fails["cgroup.subtree_control"] = slices.Repeat([]error{syscall.EBUSY}, 1000)
	if _, err := openCgroup2(f, "/c"); err == nil {
		t.Error("controllers that cannot be enabled are no error")
	}
}

// TestTheShareIsRenewed: systemd may have set the container's part of the CPU back.
func TestTheShareIsRenewed(t *testing.T) {
	f := newFakeFiles("/c")
	pidfd, err := pidfdOpen(os.Getpid())
	if err != nil {
		t.Fatal(err)
	}
	defer syscall.Close(pidfd)
	c := newContainer(&peer{pid: os.Getpid(), pidfd: pidfd}, Options{})
	c.groups = &cgroup2{files: f, dir: "/c", controllers: own}
	c.ready = func() error { return nil }
	c.conns = 1
	c.rooms = map[string]*lock{"a": {}, "b": {}, "spare": {spare: 7}}
	w := New(Options{Log: slog.New(slog.DiscardHandler)})
	w.containers[c.pid] = c
	w.renew()
	f.did(t, "/c/cpu.weight=200")
}
