package dockerengine_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// output runs a command in the site's session, and returns its output.
func (s *site) output(t *testing.T, args ...string) string {
	t.Helper()
	var out bytes.Buffer
	p, err := s.in.Start(t.Context(), agent.Command{Session: session.ID, Args: args, Stdout: &out, Stderr: &out})
	if err != nil {
		t.Fatal(err)
	}
	if exit, err := p.Wait(); err != nil || exit.Code != 0 {
		t.Fatalf("%q ended with %+v, %v: %s", args, exit, err, out.String())
	}
	return out.String()
}

// processes returns the engine's description of the container's processes.
func (s *site) processes(t *testing.T, docker *client.Client) string {
	t.Helper()
	top, err := docker.ContainerTop(t.Context(), s.spec.Name, client.ContainerTopOptions{Arguments: []string{"-ef"}})
	if err != nil {
		t.Fatal(err)
	}
	text, err := json.Marshal(top)
	if err != nil {
		t.Fatal(err)
	}
	return string(text)
}

// status returns a field of the /proc/PID/status of a process.
func status(t *testing.T, text, field string) string {
	t.Helper()
	for line := range strings.Lines(text) {
		if name, value, _ := strings.Cut(line, ":"); name == field {
			return strings.TrimSpace(value)
		}
	}
	t.Fatalf("there is no %s in %s", field, text)
	return ""
}

func TestContainer(t *testing.T) {
	docker := testenv.Docker(t)
	at := orchestrator.Endpoint{Pool: testenv.PoolName(t), PoolUID: "one", Launch: "launch-1", Address: docker.DaemonHost()}
	limits := orchestrator.Limits{
		MemoryBytes: 512 << 20, CPUs: 1.5, TmpBytes: 64 << 20,
		Session: orchestrator.SessionLimits{TmpBytes: 64 << 20, ShmBytes: 256 << 20},
	}
	s := newLimitedSite(t, dockerengine.Options{Logger: testLogger(t)}, at, limits, 3)
	found, err := docker.ContainerInspect(t.Context(), s.spec.Name, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}

	t.Run("its first process has six capabilities and its sessions have none", s.capabilities)
	t.Run("nothing that the engine shows holds a secret", func(t *testing.T) { s.secrets(t, docker, found) })
	t.Run("its limits, its network and its mounts are as they should be", func(t *testing.T) { s.settings(t, docker, found.Container, at.Launch) })
	t.Run("a session has its own and shares what it should", s.layout)
	t.Run("git works in a checkout", s.gitWorks)
}

// capabilities checks that the container's first process has six capabilities, and that its sessions have none.
func (s *site) capabilities(t *testing.T) {
	const six = "00000000000000eb" // CHOWN, DAC_OVERRIDE, FOWNER, KILL, SETGID, SETUID
	first, own := s.output(t, "cat", "/proc/1/status"), s.output(t, "cat", "/proc/self/status")
	for _, field := range []string{"CapBnd", "CapPrm", "CapEff"} {
		if got := status(t, first, field); got != six {
			t.Errorf("%s of process 1 is %s; want %s", field, got, six)
		}
	}
	for _, field := range []string{"CapPrm", "CapEff", "CapInh", "CapAmb"} {
		if got := status(t, own, field); strings.Trim(got, "0") != "" {
			t.Errorf("%s of a session is %s; want none", field, got)
		}
	}
	if got := status(t, own, "NoNewPrivs"); got != "1" {
		t.Errorf("NoNewPrivs of a session is %s", got)
	}
	if got := status(t, own, "Uid"); !strings.HasPrefix(got, "20001\t20001\t") {
		t.Errorf("the uids of a session are %s", got)
	}
}

// secrets checks that nothing that the engine shows holds a secret.
func (s *site) secrets(t *testing.T, docker *client.Client, found client.ContainerInspectResult) {
	shown := string(found.Raw)
	for _, name := range []string{s.spec.Name, s.spec.Name + "-work"} {
		volume, err := docker.VolumeInspect(t.Context(), name, client.VolumeInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		shown += string(volume.Raw)
	}
	// The remote delays its answers, so that the fetch is seen.
	s.remote.RequireCredentials("ann", "fetch-s3cret")
	s.remote.Delay(500 * time.Millisecond)
	fetched := make(chan error, 1)
	go func() {
		_, err := s.in.Fetch(t.Context(), agent.Fetch{
			URL: s.remote.URL(), Username: "ann", Password: "fetch-s3cret", Env: map[string]string{"ftp_proxy": "http://ann:proxy-s3cret@proxy"},
		}, nil)
		fetched <- err
	}()
	looks := 0
	for over := false; !over; looks++ {
		shown += s.processes(t, docker)
		shown += s.output(t, "sh", "-c", "cat /proc/[0-9]*/cmdline /proc/1/environ 2>/dev/null; true")
		select {
		case err := <-fetched:
			if over = true; err != nil {
				t.Errorf("Fetch with credentials: %v", err)
			}
		default:
		}
	}
	s.remote.Delay(0)
	s.remote.RequireCredentials("", "")
	if looks < 3 || !strings.Contains(shown, "git-remote-http") || !strings.Contains(shown, "berth-agent") {
		t.Errorf("in %d looks the fetch was not seen", looks)
	}
	for _, secret := range []string{"env-s3cret", "fetch-s3cret", "proxy-s3cret"} {
		if strings.Contains(shown, secret) {
			t.Errorf("%s is shown", secret)
		}
	}
	if got := s.output(t, "sh", "-c", "echo $TOKEN"); got != "env-s3cret\n" {
		t.Errorf("the session itself sees %q", got)
	}
}

// settings checks the container's limits, its network and its mounts.
func (s *site) settings(t *testing.T, docker *client.Client, found container.InspectResponse, launch string) {
	host := found.HostConfig
	if host.PidsLimit == nil || *host.PidsLimit != 256+3*(1024+32) || host.Privileged || host.PublishAllPorts || len(host.Binds) != 0 {
		t.Errorf("the host configuration is %+v", host)
	}
	if host.Memory != 512<<20 || host.MemorySwap != 512<<20 || host.NanoCPUs != 1.5e9 || host.IpcMode != "private" {
		t.Errorf("memory %d, with swap %d, CPUs %d, IPC %q", host.Memory, host.MemorySwap, host.NanoCPUs, host.IpcMode)
	}
	if got := s.output(t, "sh", "-c", "ulimit -c; ulimit -Hc"); got != "0\n0\n" {
		t.Errorf("the limits of core dumps are %q", got)
	}
	if got := found.Config.Labels["berth.launch"]; got != launch {
		t.Errorf("the label of the launch is %q", got)
	}
	network, err := docker.NetworkInspect(t.Context(), string(host.NetworkMode), client.NetworkInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if got := network.Network.Options["com.docker.network.bridge.enable_icc"]; got != "false" {
		t.Errorf("containers can reach each other: enable_icc is %q", got)
	}
	for _, m := range found.Mounts {
		if m.Destination == "/berth/bin" && m.RW {
			t.Error("the agent's program can be changed from inside")
		}
	}
}

// layout checks what a session has of its own and what it shares.
func (s *site) layout(t *testing.T) {
	got := s.output(t, "sh", "-ec", `
		umask
		stat -c '%a %u' $HOME $TMPDIR $(dirname $HOME) /tmp
		grep 'Max processes' /proc/self/limits | tr -s ' ' | cut -d ' ' -f 3,4
		head -c 80000000 /dev/zero > /dev/shm/large
		df -k /dev/shm | tail -1 | tr -s ' ' | cut -d ' ' -f 2
		grep ' /tmp ' /proc/mounts | tail -1 | tr ' ,' '\n\n' | grep '^tmpfs$\|^nosuid$\|^nodev$\|^noexec$\|^size=' | sort -u`)
	want := "0022\n700 20001\n700 20001\n700 20001\n1777 0\n1024 1024\n262144\nnodev\nnosuid\nsize=65536k\ntmpfs\n"
	if got != want {
		t.Errorf("got\n%s\nwant\n%s", got, want)
	}
}

// gitWorks checks that git works in a checkout.
func (s *site) gitWorks(t *testing.T) {
	got := s.output(t, "sh", "-ec", `
		git status --porcelain
		echo more >> README
		git commit --quiet --all --message "Say more"
		git push --quiet origin HEAD:refs/heads/pushed
		git log --format='%an <%ae>: %s' -1`)
	if want := "Ann <ann@example.org>: Say more\n"; got != want {
		t.Errorf("git says %q; want %q", got, want)
	}
	if got := s.remote.Head("pushed"); got != strings.TrimSpace(s.output(t, "git", "rev-parse", "HEAD")) {
		t.Errorf("the remote has %s", got)
	}
}
