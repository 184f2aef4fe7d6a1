package dockerengine_test

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/testenv"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dockerengine"
)

// output runs a command in the site's session.
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

// status returns a field of a process' /proc/PID/status.
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
	s := newSite(t, dockerengine.Options{Logger: testLogger(t)}, at)
	found, err := docker.ContainerInspect(t.Context(), s.spec.Name, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}

	t.Run("its first process has six capabilities and its sessions have none", func(t *testing.T) {
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
	})

	t.Run("nothing that the engine shows holds a secret", func(t *testing.T) {
		shown := string(found.Raw)
		for _, name := range []string{s.spec.Name, s.spec.Name + "-work"} {
			volume, err := docker.VolumeInspect(t.Context(), name, client.VolumeInspectOptions{})
			if err != nil {
				t.Fatal(err)
			}
			shown += string(volume.Raw)
		}
		top, err := docker.ContainerTop(t.Context(), s.spec.Name, client.ContainerTopOptions{Arguments: []string{"-ef"}})
		if err != nil {
			t.Fatal(err)
		}
		processes, err := json.Marshal(top)
		if err != nil {
			t.Fatal(err)
		}
		for _, secret := range []string{"env-s3cret", "fetch-s3cret"} {
			if strings.Contains(shown+string(processes), secret) {
				t.Errorf("%s is shown", secret)
			}
		}
		if got := s.output(t, "sh", "-c", "echo $TOKEN"); got != "env-s3cret\n" {
			t.Errorf("the session itself sees %q", got)
		}
	})

	t.Run("its limits, its network and its mounts are as they should be", func(t *testing.T) {
		host := found.Container.HostConfig
		if host.PidsLimit == nil || *host.PidsLimit != 256+10*1024 || host.Privileged || host.PublishAllPorts || len(host.Binds) != 0 {
			t.Errorf("the host configuration is %+v", host)
		}
		network, err := docker.NetworkInspect(t.Context(), string(host.NetworkMode), client.NetworkInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if got := network.Network.Options["com.docker.network.bridge.enable_icc"]; got != "false" {
			t.Errorf("containers can reach each other: enable_icc is %q", got)
		}
		for _, m := range found.Container.Mounts {
			if m.Destination == "/berth/bin" && m.RW {
				t.Error("the agent's program can be changed from inside")
			}
		}
	})

	t.Run("git works in a checkout", func(t *testing.T) {
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
	})
}
