package warden

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"net/rpc"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/moby/moby/api/pkg/stdcopy"
	engine "github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/internal/test/testenv"
)

// A ground has a warden and containers on a real engine.
type ground struct {
	docker *client.Client
	image  string
	pool   string
	dir    string // holds bin and warden, which the containers share
	warden string // the container's ID
}

// wardenCaps are those of an agent, which the warden gives to rooms, and what it needs itself: SYS_PTRACE only where Yama is strict.
var wardenCaps = []string{"NET_ADMIN", "SYS_ADMIN", "SYS_PTRACE", "SYS_CHROOT", "SETUID", "SETGID", "SETPCAP", "DAC_OVERRIDE", "KILL", "CHOWN", "FOWNER"}

// static builds this test program without cgo once, for any image.
var static = sync.OnceValues(func() ([]byte, error) {
	dir, err := os.MkdirTemp("", "warden")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(dir)
	cmd := exec.Command("go", "test", "-c", "-o", filepath.Join(dir, "t"), ".")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w\n%s", err, out)
	}
	return os.ReadFile(filepath.Join(dir, "t"))
})

func newGround(t testing.TB, change ...func(*client.ContainerCreateOptions)) *ground {
	t.Helper()
	if os.Getuid() != 0 {
		testenv.Missing(t, "needs root, to read the processes of containers")
	}
	program, err := static()
	if err != nil {
		t.Fatal(err)
	}
	g := &ground{docker: testenv.Docker(t), image: testenv.Image(t), pool: testenv.PoolName(t), dir: t.TempDir()}
	for _, d := range []string{"bin", "warden"} {
		if err := os.Mkdir(filepath.Join(g.dir, d), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(g.dir, "bin", "berth-agent"), program, 0o755); err != nil {
		t.Fatal(err)
	}
	g.startWarden(t, change...)
	return g
}

// startWarden starts a warden as berth does, apart from changes, and waits until it has tried a room.
func (g *ground) startWarden(t testing.TB, change ...func(*client.ContainerCreateOptions)) {
	t.Helper()
	o := client.ContainerCreateOptions{
		Config: &engine.Config{Entrypoint: []string{"/berth/bin/berth-agent", "warden"}},
		HostConfig: &engine.HostConfig{
			PidMode: "host", CapDrop: []string{"ALL"}, CapAdd: slices.Clone(wardenCaps),
			SecurityOpt:  []string{"seccomp=unconfined", "apparmor=unconfined"},
			CgroupnsMode: "host", MaskedPaths: []string{}, ReadonlyPaths: []string{},
			Binds: []string{g.dir + "/bin:/berth/bin:ro", g.dir + "/warden:/berth/warden", "/sys/fs/cgroup:/sys/fs/cgroup"},
		},
	}
	for _, c := range change {
		c(&o)
	}
	g.warden = g.run(t, "warden", o)
	for deadline := time.Now().Add(time.Minute); !strings.Contains(g.log(g.warden), "level="); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("the warden is not ready: %s", g.log(g.warden))
		}
	}
}

// run starts a container, which ends with the test.
func (g *ground) run(t testing.TB, kind string, o client.ContainerCreateOptions) string {
	t.Helper()
	o.Config.Image, o.Config.User, o.Config.Labels = g.image, "0:0", map[string]string{"berth.pool": g.pool}
	o.HostConfig.NetworkMode = cmp.Or(o.HostConfig.NetworkMode, "none")
	c, err := g.docker.ContainerCreate(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() || testing.Verbose() {
			t.Logf("the log of the %s:\n%s", kind, g.log(c.ID))
		}
		g.remove(c.ID)
	})
	if _, err := g.docker.ContainerStart(t.Context(), c.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	return c.ID
}

func (g *ground) remove(id string) {
	g.docker.ContainerRemove(context.Background(), id, client.ContainerRemoveOptions{Force: true, RemoveVolumes: true})
}

func (g *ground) log(id string) string {
	logs, err := g.docker.ContainerLogs(context.Background(), id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		return err.Error()
	}
	defer logs.Close()
	var b strings.Builder
	stdcopy.StdCopy(&b, &b, io.LimitReader(logs, 64<<10))
	return b.String()
}

// A box is a container with an agent.
type box struct {
	*ground
	t   testing.TB
	id  string
	pid int // of the agent, on this machine
	rpc *rpc.Client
}

// box starts a container as berth does.
func (g *ground) box(t testing.TB, change ...func(*client.ContainerCreateOptions)) *box {
	t.Helper()
	run := t.TempDir()
	pids := int64(4000)
	o := client.ContainerCreateOptions{
		Config: &engine.Config{Entrypoint: []string{"/berth/bin/berth-agent", "serve", testRun + "/test.sock"}},
		HostConfig: &engine.HostConfig{
			IpcMode: engine.IPCModePrivate, CapDrop: []string{"ALL"},
			CapAdd:      []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "SETGID", "SETUID"},
			SecurityOpt: []string{"no-new-privileges"},
			Binds:       []string{g.dir + "/bin:/berth/bin:ro", g.dir + "/warden:/berth/warden:ro", run + ":" + testRun},
			Tmpfs:       map[string]string{"/tmp": "rw,nosuid,nodev,exec,mode=1777,size=64m", "/sessions": "rw,nosuid,nodev,exec,mode=0711", "/berth/mirror": "rw,exec"},
			Resources:   engine.Resources{Memory: 1 << 30, MemorySwap: 1 << 30, PidsLimit: &pids},
		},
	}
	for _, c := range change {
		c(&o)
	}
	b := &box{ground: g, t: t, id: g.run(t, "agent", o)}
	inspected, err := g.docker.ContainerInspect(t.Context(), b.id, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	b.pid = inspected.Container.State.Pid
	b.until("the agent answers", func() (err error) {
		b.rpc, err = rpc.Dial("unix", filepath.Join(run, "test.sock"))
		return err
	})
	t.Cleanup(func() { b.rpc.Close() })
	return b
}

// isolation asks the warden.
func (b *box) isolation() (i room.Isolation, err error) {
	err = b.rpc.Call("Agent.Isolation", 0, &i)
	return i, err
}

// until waits for a condition.
func (b *box) until(what string, condition func() error) {
	b.t.Helper()
	var err error
	for deadline := time.Now().Add(time.Minute); time.Now().Before(deadline); time.Sleep(5 * time.Millisecond) {
		if err = condition(); err == nil {
			return
		}
	}
	b.t.Fatalf("waiting until %s: %v", what, err)
}

// spec describes a room of the tests.
func spec(id string, uid int) room.Spec {
	return room.Spec{
		ID: id, UID: uid, Dir: "/sessions/" + id, SessionsDir: "/sessions", MirrorDir: "/berth/mirror", RunDir: testRun,
		Limits: room.Limits{MemoryBytes: 128 << 20, PIDs: 200, CPUWeight: 100, TmpBytes: 8 << 20, VarTmpBytes: 4 << 20, ShmBytes: 2 << 20, Inodes: 100, PTYs: 4},
	}
}

func (b *box) open(s room.Spec) Opened {
	b.t.Helper()
	var o Opened
	if err := b.rpc.Call("Agent.Open", s, &o); err != nil {
		b.t.Fatalf("open %s: %v", s.ID, err)
	}
	return o
}

func (b *box) close(id string) {
	b.t.Helper()
	var took time.Duration
	if err := b.rpc.Call("Agent.Kill", id, &took); err != nil {
		b.t.Fatalf("kill %s: %v", id, err)
	}
	if err := b.rpc.Call("Agent.Close", id, &took); err != nil {
		b.t.Fatalf("close %s: %v", id, err)
	}
}

// run runs a script in a room under a uid.
func (b *box) run(id string, uid int, script string) Done {
	b.t.Helper()
	var d Done
	if err := b.rpc.Call("Agent.Run", Command{Room: id, UID: uid, Script: script}, &d); err != nil {
		b.t.Fatalf("run in %s: %v", id, err)
	}
	return d
}

func (b *box) background(id string, uid int, script string) {
	b.t.Helper()
	var d Done
	if err := b.rpc.Call("Agent.Run", Command{Room: id, UID: uid, Script: script, Background: true}, &d); err != nil || d.Code != 0 {
		b.t.Fatalf("run in %s: %v %+v", id, err, d)
	}
}

// hostPID returns the pid on this machine of the init that the container knows by a pid.
func (b *box) hostPID(pid int) int {
	b.t.Helper()
	agent, err := readStatus(b.pid)
	if err != nil {
		b.t.Fatal(err)
	}
	depth := len(agent.pids())
	uts, _ := os.Readlink(procPath(b.pid, "ns/uts"))
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		var host int
		fmt.Sscan(filepath.Base(dir), &host)
		s, err := readStatus(host)
		if err != nil {
			continue
		}
		its, _ := os.Readlink(procPath(host, "ns/uts"))
		if pids := s.pids(); len(pids) == depth+1 && pids[depth-1] == pid && its == uts {
			return host
		}
	}
	b.t.Fatalf("no process %d in the container", pid)
	return 0
}

// version2 reports whether this machine has one hierarchy of cgroups, with all controllers.
func version2() bool {
	_, err := os.Stat(filepath.Join(cgroupRoot, "cgroup.controllers"))
	return err == nil
}

// groups returns the directories of the container's cgroups on this machine that match a pattern.
func (b *box) groups(pattern string) (found []string) {
	b.t.Helper()
	tops := []string{"*/docker/" + b.id, "*/system.slice/docker-" + b.id + ".scope"} // by the engine's driver of cgroups
	if version2() {
		tops = []string{"docker/" + b.id, "system.slice/docker-" + b.id + ".scope"}
	}
	for _, top := range tops {
		some, err := filepath.Glob(filepath.Join(cgroupRoot, top, pattern))
		if err != nil {
			b.t.Fatal(err)
		}
		found = append(found, some...)
	}
	return found
}

// file returns the content of a file of the container's cgroup, or of a room's below it. Only one hierarchy has the file.
func (b *box) file(path string) string {
	b.t.Helper()
	for _, dir := range b.groups(filepath.Dir(path)) {
		if text, err := os.ReadFile(filepath.Join(dir, filepath.Base(path))); err == nil {
			return strings.TrimSpace(string(text))
		}
	}
	b.t.Fatalf("the container has no file %s among %v", path, b.groups(""))
	return ""
}

// share checks that the container has the part of the CPU that so many rooms have.
func (b *box) share(rooms int) {
	b.t.Helper()
	name, usual := "cpu.shares", usualShares
	if version2() {
		name, usual = "cpu.weight", usualWeight
	}
	if got, want := b.file(name), strconv.Itoa(max(rooms, 1)*usual); got != want {
		b.t.Errorf("%s of the container is %s, want %s as %d rooms have", name, got, want, rooms)
	}
}
