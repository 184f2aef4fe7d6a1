package dockerengine_test

import (
	"errors"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/embedded"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
	"github.com/berth-go/berth/store"
)

// wardens returns the wardens of a pool, in any state.
func wardens(t *testing.T, docker *client.Client, pool string) []container.Summary {
	t.Helper()
	filter := make(client.Filters).Add("label", "berth.pool="+pool).Add("label", "berth.kind=warden")
	list, err := docker.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: filter})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// roomy reports whether a container's sessions have rooms.
func roomy(t *testing.T, docker *client.Client, name string) bool {
	t.Helper()
	found, err := docker.ContainerInspect(t.Context(), name, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found.Container.Config.Labels["berth.isolation"] == string(store.IsolationRooms)
}

// inRooms returns a site whose sessions have rooms.
func inRooms(t *testing.T, at orchestrator.Endpoint) *site {
	t.Helper()
	s := newSite(t, dockerengine.Options{Logger: testLogger(t)}, at)
	made, err := s.host.Ensure(t.Context(), s.spec, nil)
	if err != nil {
		t.Fatal(err)
	}
	if made.Isolation.Level != store.IsolationRooms {
		testenv.Missing(t, "the engine gives no rooms: %s", wantReason(t, s))
	}
	return s
}

// wantReason returns why a site's engine gives no rooms.
func wantReason(t *testing.T, s *site) string {
	spec := s.spec
	spec.RequireIsolation = true
	_, err := s.host.Ensure(t.Context(), spec, nil)
	if refused, ok := errors.AsType[*orchestrator.IsolationError](err); ok {
		return refused.Reason
	}
	return "unknown"
}

func TestWarden(t *testing.T) {
	docker := testenv.Docker(t)
	at := orchestrator.Endpoint{Pool: testenv.PoolName(t), PoolUID: "one", Launch: "launch-1", Address: docker.DaemonHost()}
	s := inRooms(t, at)
	t.Run("there is one, with the rights that it needs and no more", func(t *testing.T) { s.wardenSettings(t, docker, at.Pool) })
	t.Run("another process uses the same one", func(t *testing.T) {
		before := wardens(t, docker, at.Pool)
		h, err := dockerengine.New(dockerengine.Options{Logger: testLogger(t)}).Connect(t.Context(), at)
		if err != nil {
			t.Fatal(err)
		}
		defer h.Close()
		if made, err := h.Ensure(t.Context(), s.spec, nil); err != nil || made.Isolation.Level != store.IsolationRooms {
			t.Errorf("Ensure: %+v, %v", made, err)
		}
		if now := wardens(t, docker, at.Pool); len(now) != 1 || now[0].ID != before[0].ID {
			t.Errorf("there are now %+v", now)
		}
	})
	t.Run("if it ends, its rooms stay, and the engine starts it again", func(t *testing.T) { s.wardenEnds(t, docker, at.Pool) })
	t.Run("if it is removed, a probe makes it again", func(t *testing.T) { s.wardenRemoved(t, docker, at.Pool) })
	t.Run("containers of two versions have two", func(t *testing.T) { s.twoVersions(t, docker, at) })
}

func (s *site) wardenSettings(t *testing.T, docker *client.Client, pool string) {
	all := wardens(t, docker, pool)
	if len(all) != 1 {
		t.Fatalf("the pool has %d wardens", len(all))
	}
	inspected, err := docker.ContainerInspect(t.Context(), all[0].ID, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	found, host := inspected.Container, inspected.Container.HostConfig
	if host.Privileged || host.PidMode != "host" || host.NetworkMode != "none" || !host.ReadonlyRootfs || !slices.Equal(host.CapDrop, []string{"ALL"}) {
		t.Errorf("the host configuration is %+v", host)
	}
	if host.Memory != 256<<20 || host.PidsLimit == nil || *host.PidsLimit != 1024 || host.RestartPolicy.Name != container.RestartPolicyAlways {
		t.Errorf("memory %d, processes %v, restart policy %v", host.Memory, host.PidsLimit, host.RestartPolicy)
	}
	caps := []string{"CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL", "NET_ADMIN", "SETGID", "SETPCAP", "SETUID", "SYS_ADMIN", "SYS_CHROOT", "SYS_PTRACE"}
	var got []string
	for _, c := range host.CapAdd {
		got = append(got, strings.TrimPrefix(c, "CAP_"))
	}
	if slices.Sort(got); !slices.Equal(got, caps) {
		t.Errorf("its capabilities are %v; want %v", got, caps)
	}
	for _, m := range found.Mounts {
		if want := []string{"/berth/bin", "/berth/run", "/berth/warden", "/sys/fs/cgroup"}; !slices.Contains(want, m.Destination) {
			t.Errorf("it has the mount %+v", m)
		}
	}
	for _, secret := range []string{"s3cret", "TOKEN"} {
		for _, text := range append(slices.Concat(found.Config.Env, found.Args), found.Name) {
			if strings.Contains(text, secret) {
				t.Errorf("its settings hold %q", text)
			}
		}
	}
	inside, err := docker.ContainerInspect(t.Context(), s.spec.Name, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range inside.Container.Mounts {
		if m.Destination == agent.WardenDir && m.RW {
			t.Error("a container may write to the warden's volume")
		}
	}
}

// opens checks that one more session can be opened in the site's container, and runs a command in it.
func (s *site) opens(t *testing.T, id string, uid int) {
	t.Helper()
	open := session
	open.ID, open.UID, open.URL = id, uid, s.remote.URL()
	if _, err := s.in.Open(t.Context(), open); err != nil {
		t.Fatalf("Open: %v", err)
	}
	p, err := s.in.Start(t.Context(), agent.Command{Session: id, Args: []string{"true"}})
	if err != nil {
		t.Fatalf("Start: %v", err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		t.Errorf("a command ended with %+v, %v", exit, err)
	}
}

func (s *site) wardenEnds(t *testing.T, docker *client.Client, pool string) {
	var out strings.Builder
	p, err := s.in.Start(t.Context(), agent.Command{Session: session.ID, Args: []string{"sh", "-c", "read line; echo $line"}, Stdin: waitsFor(func() {
		id := wardens(t, docker, pool)[0].ID
		if _, err := docker.ContainerRestart(t.Context(), id, client.ContainerRestartOptions{Timeout: new(int)}); err != nil {
			t.Error(err)
		}
	}), Stdout: &out})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 || out.String() != "on\n" {
		t.Errorf("the command in the room ended with %+v, %v, %q", exit, err, out.String())
	}
	s.opens(t, "s2", 20002)
}

// waitsFor returns the input of a command: a line that comes when do has returned.
func waitsFor(do func()) *lateReader { return &lateReader{do: do, text: "on\n"} }

type lateReader struct {
	do   func()
	text string
}

func (r *lateReader) Read(p []byte) (int, error) {
	if r.do != nil {
		r.do()
		r.do = nil
	}
	return strings.NewReader(r.text).Read(p)
}

func (s *site) wardenRemoved(t *testing.T, docker *client.Client, pool string) {
	before := wardens(t, docker, pool)[0].ID
	if _, err := docker.ContainerRemove(t.Context(), before, client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(50 * time.Millisecond) {
		if err := s.host.Probe(t.Context()); err != nil {
			t.Errorf("Probe: %v", err)
		}
		if all := wardens(t, docker, pool); len(all) == 1 && all[0].ID != before && all[0].State == container.StateRunning {
			break
		}
		if time.Now().After(deadline) {
			t.Fatal("there is no warden after a minute")
		}
	}
	s.opens(t, "s3", 20003)
}

// twoVersions makes a container with another version of the agent's program. It has one more byte.
func (s *site) twoVersions(t *testing.T, docker *client.Client, at orchestrator.Endpoint) {
	newer, err := dockerengine.New(dockerengine.Options{Logger: testLogger(t), Agent: func(arch string) ([]byte, error) {
		binary, err := embedded.Binary(arch)
		return append(slices.Clone(binary), 0), err
	}}).Connect(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	defer newer.Close()
	spec := s.spec
	spec.Key.Scope = "newer"
	spec.Name = spec.Key.ContainerName(at.Pool)
	if made, err := newer.Ensure(t.Context(), spec, nil); err != nil || made.Isolation.Level != store.IsolationRooms {
		t.Fatalf("Ensure: %+v, %v", made, err)
	}
	if n := len(wardens(t, docker, at.Pool)); n != 2 {
		t.Fatalf("there are %d wardens for two versions", n)
	}
	old := func() (used []orchestrator.Resource) { // those of the older version, as the newer process sees them
		held, err := newer.List(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		for _, r := range held.Resources {
			if r.Kind == "warden" && r.Type == "container" && strings.Contains(wardenName(t, docker, r.ID), s.version(t)) {
				used = append(used, r)
			}
		}
		return used
	}
	if r := old(); len(r) != 1 || !r[0].InUse {
		t.Fatalf("the older warden is listed as %+v; want one in use", r)
	}
	if err := newer.RemoveResource(t.Context(), old()[0]); !errors.Is(err, orchestrator.ErrInUse) {
		t.Errorf("removing it while a container needs it: %v", err)
	}
	if err := newer.Remove(t.Context(), s.spec.Name, ""); err != nil {
		t.Fatal(err)
	}
	if r := old(); len(r) != 1 || r[0].InUse {
		t.Fatalf("without its containers, the older warden is listed as %+v; want one not in use", r)
	}
	if err := newer.RemoveResource(t.Context(), old()[0]); err != nil {
		t.Errorf("removing it: %v", err)
	}
	if n := len(wardens(t, docker, at.Pool)); n != 1 {
		t.Errorf("there are %d wardens for one version", n)
	}
	if err := newer.Purge(t.Context()); err != nil {
		t.Errorf("Purge: %v", err)
	}
	if n := len(wardens(t, docker, at.Pool)); n != 0 {
		t.Errorf("after a purge there are %d wardens", n)
	}
}

func wardenName(t *testing.T, docker *client.Client, id string) string {
	t.Helper()
	found, err := docker.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return found.Container.Name
}

// version is that of the embedded agent, which the site's container was made with.
func (s *site) version(t *testing.T) string {
	t.Helper()
	binary, err := embedded.Binary(runtime.GOARCH)
	if err != nil {
		t.Fatal(err)
	}
	return dockerengine.VersionOf(binary)
}
