package hostboot_test

import (
	"bytes"
	"context"
	"crypto/tls"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/internal/test/hostboottest"
	"github.com/berth-go/berth/internal/test/testenv"
)

// TestEngineFromUserData boots real engines from the user data alone, and uses one over mutual TLS.
func TestEngineFromUserData(t *testing.T) {
	here := testenv.Docker(t)
	image := testenv.Image(t)
	p := newPool(t)
	userData, trust := p.boot(t, launch, hostboot.Options{Daemon: hostboottest.Daemon(), Extra: "docker version"})
	validate(t, userData)

	// As in the image of ECS, Docker is already there and has run, with settings and a bridge of its own.
	m := hostboottest.Boot(t, hostboottest.Options{
		UserData: append([]byte("ip link add docker0 type bridge && ip addr add 10.99.0.1/16 dev docker0\n"), userData...),
		Engine:   true,
		Env:      []string{"BERTH_IMDS=http://127.0.0.1:1"}, // testNotices has one that answers
	})
	if !m.Booted() {
		t.Fatal("the user data failed")
	}
	docker := connect(t, m, must(p.TLS(launch, trust))(t))
	info, err := docker.Info(t.Context(), client.InfoOptions{})
	if err != nil {
		t.Fatal(err)
	}
	if !slices.Contains(info.Info.Labels, "berth.launch="+launch) || !slices.Contains(info.Info.Labels, "berth.pool=acme") ||
		!info.Info.LiveRestoreEnabled || info.Info.LoggingDriver != "local" {
		t.Errorf("labels %v, live restore %t, log driver %s", info.Info.Labels, info.Info.LiveRestoreEnabled, info.Info.LoggingDriver)
	}
	t.Run("strangers are refused", func(t *testing.T) { testStrangers(t, p, m, trust) })
	t.Run("containers", func(t *testing.T) {
		load(t, here, docker, image)
		testContainers(t, m, docker, image)
	})
	t.Run("notices", func(t *testing.T) { testNotices(t, m, docker) })
	t.Run("the dead man's switch", func(t *testing.T) { testDeadMan(t, m, docker) })
	t.Run("a restart of the daemon", func(t *testing.T) {
		out, err := m.Run(t.Context(), "systemctl stop docker.service && systemctl start docker.service && iptables -t raw -S PREROUTING && ip6tables -t raw -S PREROUTING")
		if err != nil || strings.Count(out, "-j DROP") != 6 {
			t.Errorf("%v: %s", err, out)
		}
		if _, err := docker.Ping(t.Context(), client.PingOptions{}); err != nil {
			t.Error(err)
		}
	})
}

// validate asks Docker whether it accepts the settings, if it is new enough to be asked.
func validate(t *testing.T, userData []byte) {
	t.Helper()
	dockerd, err := exec.LookPath("dockerd")
	if err != nil {
		testenv.Missing(t, "not tested: %v", err)
	}
	help, _ := exec.Command(dockerd, "--help").CombinedOutput()
	if !bytes.Contains(help, []byte("--validate")) {
		t.Log("this dockerd has no --validate; it is started below")
		return
	}
	path := t.TempDir() + "/daemon.json"
	if err := os.WriteFile(path, []byte(filesOf(userData)["/etc/berth/daemon.json"].text), 0o600); err != nil {
		t.Fatal(err)
	}
	if out, err := exec.Command(dockerd, "--validate", "--config-file", path).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
}

func must[T any](v T, err error) func(*testing.T) T {
	return func(t *testing.T) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

// connect makes a client of the machine's engine in the same way as the driver, which handles TLS outside the client.
func connect(t *testing.T, m *hostboottest.Machine, config *tls.Config) *client.Client {
	t.Helper()
	address := strings.TrimPrefix(m.Address(), "tcp://")
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&tls.Dialer{Config: config}).DialContext(ctx, "tcp", address)
	}
	transport := &http.Transport{DialContext: dial}
	docker, err := client.New(client.WithHTTPClient(&http.Client{Transport: transport}), client.WithHost(m.Address()),
		client.WithScheme("http"), client.WithDialContext(dial))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { docker.Close() })
	return docker
}

func testStrangers(t *testing.T, p pool, m *hostboottest.Machine, trust string) {
	nobody := must(p.TLS(launch, trust))(t)
	nobody.GetClientCertificate = nil
	other := must(newPool(t).TLS(launch, trust))(t)
	for what, c := range map[string]struct {
		config *tls.Config
		want   string
	}{
		"no certificate":               {nobody, "certificate required"},
		"another pool's":               {other, "unknown certificate authority"},
		"one that looks for a machine": {must(p.TLS("acme-tools-other", trust))(t), "not acme-tools-other.berth.invalid"},
	} {
		conn, err := tls.Dial("tcp", strings.TrimPrefix(m.Address(), "tcp://"), c.config)
		if err == nil { // the server's opinion comes with the first byte
			_, err = conn.Read(make([]byte, 1))
			conn.Close()
		}
		if err == nil || !strings.Contains(err.Error(), c.want) && !strings.Contains(err.Error(), "bad certificate") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// metadataNetwork adds another machine that has the address of the metadata service, and one more address. The machine
// itself must reach both.
const metadataNetwork = `
set -e
ip netns add metadata
ip link add metadata0 type veth peer name metadata1 netns metadata
ip addr add 192.0.2.1/30 dev metadata0
ip link set metadata0 up
ip -n metadata addr add 192.0.2.2/30 dev metadata1
ip -n metadata link set metadata1 up
ip -n metadata link set lo up
ip -n metadata route add default via 192.0.2.1
addresses="169.254.169.254 169.254.1.1"
if [ -e /proc/net/if_inet6 ]; then
	addresses="$addresses fd00:ec2::254 fd00:ec2::1"
	ip addr add fd00:98::1/64 dev metadata0 nodad
	ip -n metadata addr add fd00:98::2/64 dev metadata1 nodad
	ip -n metadata route add default via fd00:98::1
	echo 1 >/proc/sys/net/ipv6/conf/all/forwarding
fi
for at in $addresses; do
	case $at in *:*) via=fd00:98::2 ;; *) via=192.0.2.2 ;; esac
	ip -n metadata addr add $at dev lo
	ip route add $at via $via
	nsenter --net=/run/netns/metadata git daemon --detach --port=80 --base-path=/tmp --listen=$at
done
for at in $addresses; do
	for try in $(seq 50); do timeout 3 bash -c ": </dev/tcp/$at/80" 2>/dev/null && continue 2; sleep 0.2; done
	echo "the machine itself cannot reach $at"
done`

// testContainers runs a container on a network like those of berth, and tries to reach addresses from it. For each try that
// must fail, a similar one must succeed.
func testContainers(t *testing.T, m *hostboottest.Machine, docker *client.Client, image string) {
	testenv.Git(t)
	net, err := docker.NetworkCreate(t.Context(), "berth-test", client.NetworkCreateOptions{Driver: "bridge"})
	if err != nil {
		t.Fatal(err)
	}
	six, err := docker.NetworkCreate(t.Context(), "berth-test-six", client.NetworkCreateOptions{
		Driver: "bridge", EnableIPv6: new(true),
		IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix("fd00:99::/64")}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if out, err := m.Run(t.Context(), metadataNetwork); err != nil || out != "" {
		t.Fatalf("%v: %s", err, out)
	}
	bridges, err := m.Run(t.Context(), "ip -4 -o addr show")
	if err != nil || !strings.Contains(bridges, "172.17.0.1/20") || strings.Contains(bridges, "10.99.") {
		t.Errorf("the bridge that was there keeps its address: %v: %s", err, bridges)
	}
	own := strings.Split(strings.TrimPrefix(m.Address(), "tcp://"), ":")[0] + "/2376"
	for _, network := range []string{"bridge", net.ID} {
		got := reach(t, docker, image, network, "169.254.169.254/80", "169.254.1.1/80", own)
		if want := []string{"169.254.1.1/80"}; !slices.Equal(got, want) {
			t.Errorf("from network %s, %v can be reached; want %v", network, got, want)
		}
	}
	if _, err := os.Stat("/proc/net/if_inet6"); err != nil {
		t.Log("not tested: this machine has no IPv6")
		return
	}
	if got, want := reach(t, docker, image, six.ID, "fd00:ec2::254/80", "fd00:ec2::1/80"), []string{"fd00:ec2::1/80"}; !slices.Equal(got, want) {
		t.Errorf("by IPv6, %v can be reached; want %v", got, want)
	}
}

// reach tries addresses from a container, and the engine's port on all of the container's gateways. It returns those that
// answered.
func reach(t *testing.T, docker *client.Client, image, network string, addresses ...string) []string {
	t.Helper()
	out := run(t, docker, image, network, `
		set -- $(sed -nE 's/^[^\t]+\t00000000\t(..)(..)(..)(..)\t.*/0x\4 0x\3 0x\2 0x\1/p' /proc/net/route)
		for at in $(($1)).$(($2)).$(($3)).$(($4))/2376 fd00:99::1/2376 `+strings.Join(addresses, " ")+`; do
			(if timeout 3 bash -c ": </dev/tcp/$at" 2>/dev/null; then echo "$at"; fi) &
		done
		wait`)
	return strings.Fields(out)
}

// run runs a script in a container and returns its output.
func run(t *testing.T, docker *client.Client, image, on, script string) string {
	t.Helper()
	c, err := docker.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Config:           &container.Config{Image: image, Entrypoint: []string{"bash", "-c", script}},
		HostConfig:       &container.HostConfig{NetworkMode: container.NetworkMode(on)},
		NetworkingConfig: &network.NetworkingConfig{},
	})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := docker.ContainerStart(t.Context(), c.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	wait := docker.ContainerWait(t.Context(), c.ID, client.ContainerWaitOptions{Condition: container.WaitConditionNotRunning})
	select {
	case err := <-wait.Error:
		t.Fatal(err)
	case <-wait.Result:
	}
	logs, err := docker.ContainerLogs(t.Context(), c.ID, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
	if err != nil {
		t.Fatal(err)
	}
	defer logs.Close()
	var out strings.Builder
	for header := make([]byte, 8); ; { // of each frame; its end is the length
		if _, err := io.ReadFull(logs, header); err != nil {
			return out.String()
		}
		size := int64(header[4])<<24 | int64(header[5])<<16 | int64(header[6])<<8 | int64(header[7])
		if _, err := io.CopyN(&out, logs, size); err != nil {
			t.Fatal(err)
		}
	}
}

// load copies an image from one engine to the other.
func load(t *testing.T, from, to *client.Client, image string) {
	t.Helper()
	saved, err := from.ImageSave(t.Context(), []string{image})
	if err != nil {
		t.Fatal(err)
	}
	defer saved.Close()
	loaded, err := to.ImageLoad(t.Context(), saved)
	if err != nil {
		t.Fatal(err)
	}
	defer loaded.Close()
	if out, err := io.ReadAll(loaded); err != nil || !bytes.Contains(out, []byte("Loaded image")) {
		t.Fatalf("%v: %s", err, out)
	}
}
