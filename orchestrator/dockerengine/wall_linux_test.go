package dockerengine_test

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/api/types/network"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
)

// TestWallsOfAContainer holds what sessions reach of a container's surroundings. The engine is one on this machine.
func TestWallsOfAContainer(t *testing.T) {
	docker := testenv.Docker(t)
	if os.Getuid() != 0 {
		testenv.Missing(t, "needs root, to give this machine another address")
	}
	pool := testenv.PoolName(t)
	f := &field{docker: docker, pool: pool, site: inRooms(t, orchestrator.Endpoint{Pool: pool, PoolUID: "one", Launch: "launch-1", Address: docker.DaemonHost()})}
	f.addMachine(t)
	f.addNeighbours(t)
	t.Run("by default", f.byDefault)
	t.Run("with exceptions", f.withExceptions)
	t.Run("none", f.none)
	t.Run("a list", f.list)
}

// A field is what is around a container. All that is listed listens.
type field struct {
	docker *client.Client
	pool   string
	*site  // with the exceptions of gittest.Egress

	second  string   // an address of the machine that no special range has
	url     string   // of the repository at that address
	machine []string // this machine's addresses, with a port
	others  []string // addresses of other containers, with a port
	name    string   // of another container in the pool's network
}

// metadata are addresses that are refused, whether something listens or not.
var metadata = []string{"169.254.169.254/80", "169.254.170.2/80", "100.100.100.200/80"}

// addMachine gives this machine another address, at which the git server answers, too, and a service on all of them.
func (f *field) addMachine(t *testing.T) {
	link := "berth" + fmt.Sprint(rand.IntN(1e6))
	f.second = fmt.Sprintf("52.94.%d.%d", rand.IntN(256), 1+rand.IntN(250))
	t.Cleanup(func() { exec.Command("ip", "link", "del", link).Run() })
	for _, line := range []string{"link add " + link + " type bridge", "link set " + link + " up", "addr add " + f.second + "/32 dev " + link} {
		if out, err := exec.Command("ip", strings.Fields(line)...).CombinedOutput(); err != nil {
			t.Fatalf("ip %s: %v: %s", line, err, out)
		}
	}
	server, err := url.Parse(f.remote.LocalURL())
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp4", "0.0.0.0:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { listener.Close() })
	go http.Serve(listener, httputil.NewSingleHostReverseProxy(&url.URL{Scheme: server.Scheme, Host: server.Host}))
	port := fmt.Sprint(listener.Addr().(*net.TCPAddr).Port)
	f.url = "http://" + f.second + ":" + port + server.Path
	addrs, err := net.InterfaceAddrs()
	if err != nil {
		t.Fatal(err)
	}
	for _, a := range addrs {
		if p, err := netip.ParsePrefix(a.String()); err == nil && p.Addr().Is4() && !p.Addr().IsLoopback() {
			f.machine = append(f.machine, p.Addr().String()+"/"+port)
		}
	}
	if !slices.Contains(f.machine, f.second+"/"+port) {
		t.Fatalf("%s is not among %v", f.second, f.machine)
	}
}

// addNeighbours runs a container in the pool's network and one in the engine's own.
func (f *field) addNeighbours(t *testing.T) {
	found, err := f.docker.ContainerInspect(t.Context(), f.spec.Name, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	f.name = f.spec.Name + "-neighbour"
	f.others = []string{f.neighbour(t, found, f.name, found.Container.HostConfig.NetworkMode), f.neighbour(t, found, f.spec.Name+"-stranger", "bridge")}
}

// neighbour runs a container that listens, and returns where.
func (f *field) neighbour(t *testing.T, like client.ContainerInspectResult, name string, mode container.NetworkMode) (at string) {
	t.Helper()
	made, err := f.docker.ContainerCreate(t.Context(), client.ContainerCreateOptions{
		Name: name,
		Config: &container.Config{
			Image: like.Container.Config.Image, Labels: map[string]string{"berth.test": f.pool},
			Entrypoint: []string{"git", "daemon", "--export-all", "--base-path=/srv"},
		},
		HostConfig: &container.HostConfig{NetworkMode: mode},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := f.docker.ContainerRemove(context.Background(), made.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
			t.Error(err)
		}
	})
	if _, err := f.docker.ContainerStart(t.Context(), made.ID, client.ContainerStartOptions{}); err != nil {
		t.Fatal(err)
	}
	found, err := f.docker.ContainerInspect(t.Context(), made.ID, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, n := range found.Container.NetworkSettings.Networks {
		at = n.IPAddress.String() + "/9418"
	}
	return at
}

// with makes another container for the same repository at the machine's second address, with a session.
func (f *field) with(t *testing.T, e orchestrator.Egress) *site {
	t.Helper()
	s := &site{host: f.host, spec: f.spec, remote: f.remote}
	s.spec.Key.Scope = "egress-" + string(e.Mode)
	s.spec.Name, s.spec.Egress, s.spec.RequireIsolation = s.spec.Key.ContainerName(f.pool), e, true
	if _, err := s.host.Ensure(t.Context(), s.spec, nil); err != nil {
		t.Fatal(err)
	}
	var err error
	if s.in, err = s.host.Attach(t.Context(), s.spec.Name); err != nil {
		t.Fatal(err)
	}
	if _, err := s.in.Fetch(t.Context(), agent.Fetch{URL: f.url}, nil); err != nil {
		t.Fatalf("the agent does not fetch: %v", err)
	}
	open := session
	open.URL, open.Env = f.url, nil
	if s.work, err = s.in.Open(t.Context(), open); err != nil {
		t.Fatal(err)
	}
	return s
}

// gateway returns the machine's address in the container's network, with the port of a service.
func (f *field) gateway(t *testing.T, s *site) string {
	t.Helper()
	found, err := f.docker.ContainerInspect(t.Context(), s.spec.Name, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	_, port, _ := strings.Cut(f.machine[0], "/")
	for _, n := range found.Container.NetworkSettings.Networks {
		return n.Gateway.String() + "/" + port
	}
	t.Fatal("the container has no network")
	return ""
}

// reached connects from a session to addresses, each with its port. It returns what each attempt ended with: "reached", the
// system's error, or "silence" if there was no answer.
func reached(t *testing.T, s *site, to ...string) map[string]string {
	t.Helper()
	out := s.output(t, append([]string{"bash", "-c", `for at; do
	text=$(timeout 5 bash -c "exec 3<>/dev/tcp/$at" 2>&1)
	case $? in
	0) echo "$at reached";;
	124) echo "$at silence";;
	*) echo "$at" $(echo "$text" | head -1 | sed 's/.*: //');;
	esac
done`, "bash"}, to...)...)
	got := make(map[string]string)
	for line := range strings.Lines(out) {
		at, what, _ := strings.Cut(strings.TrimSpace(line), " ")
		got[at] = what
	}
	return got
}

// refused checks that connections of a session to addresses are refused at once.
func refused(t *testing.T, s *site, to ...string) {
	t.Helper()
	for at, what := range reached(t, s, to...) {
		if what != "Connection refused" {
			t.Errorf("%s: %s", at, what)
		}
	}
}

// basics checks what holds for every policy.
func (f *field) basics(t *testing.T, s *site) {
	t.Helper()
	refused(t, s, slices.Concat(metadata, f.others[:1], []string{f.gateway(t, s), "127.0.0.11/53"})...)
	if got := reached(t, s, "fe80::1%eth0/80", "fd00:ec2::254/80"); slices.Contains(slices.Collect(maps.Values(got)), "reached") {
		t.Errorf("by IPv6: %v", got)
	}
	if out := s.output(t, "sh", "-c", "git daemon --listen=127.0.0.1 --port=7777 --base-path=/srv & sleep 0.2; "+
		"for i in 1 2 3 4 5 6 7 8 9; do bash -c 'exec 3<>/dev/tcp/127.0.0.1/7777' 2>&1 && echo reached && break; sleep 0.2; done; kill $!"); !strings.Contains(out, "reached") {
		t.Errorf("a server of the session itself: %s", out)
	}
	for _, name := range []string{f.name, f.spec.Name} {
		if out := s.output(t, "sh", "-c", "getent hosts "+name+" || true"); out != "" && name != s.spec.Name { // a container knows itself
			t.Errorf("the resolver tells of %s: %s", name, out)
		}
	}
	if out := s.output(t, "grep", "^nameserver", "/etc/resolv.conf"); out != "nameserver 127.0.0.53\n" {
		t.Errorf("/etc/resolv.conf has %q", out)
	}
}

func (f *field) byDefault(t *testing.T) {
	s := f.with(t, orchestrator.Egress{})
	f.basics(t, s)
	refused(t, s, slices.Concat(f.machine, f.others)...)
	if out := s.output(t, "sh", "-c", "git ls-remote origin 2>&1 || true"); !strings.Contains(out, "onnect") {
		t.Errorf("a session talks to a git server of the machine: %s", out)
	}
	if _, err := s.in.Fetch(t.Context(), agent.Fetch{URL: f.url}, nil); err != nil {
		t.Errorf("the agent does not fetch: %v", err)
	}
}

func (f *field) withExceptions(t *testing.T) {
	f.basics(t, f.site)
	_, port, _ := strings.Cut(f.machine[0], "/")
	second := f.second + "/" + port
	// The walls stood already when the machine got this address: the warden looks again.
	for deadline := time.Now().Add(time.Minute); reached(t, f.site, second)[second] != "Connection refused"; time.Sleep(100 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("a session reaches the machine's new address %s", second)
		}
	}
	f.output(t, "git", "ls-remote", "origin")
	f.output(t, "git", "clone", "-q", f.remote.URL(), "/tmp/clone")
}

func (f *field) none(t *testing.T) {
	private, err := url.Parse(f.remote.URL())
	if err != nil {
		t.Fatal(err)
	}
	s := f.with(t, orchestrator.Egress{Mode: orchestrator.EgressNone, Remotes: []string{private.Hostname()}})
	f.basics(t, s)
	if _, err := s.in.Fetch(t.Context(), agent.Fetch{URL: f.remote.URL()}, nil); err != nil {
		t.Errorf("the agent does not fetch from a remote that is allowed to fetches: %v", err)
	}
	refused(t, s, private.Hostname()+"/"+private.Port())
	refused(t, s, append([]string{"8.8.8.8/53", "1.1.1.1/443"}, f.machine...)...)
}

// list also looks up a name, of a container in a network that the container joins later: in the test there is no other
// public name that the engine's resolver is sure to know.
func (f *field) list(t *testing.T) {
	subnet := fmt.Sprintf("52.95.%d.0/24", rand.IntN(256))
	s := f.with(t, orchestrator.Egress{Mode: orchestrator.EgressAllowList, Allow: []string{f.second, subnet, "*.shop.example"}})
	f.basics(t, s)
	refused(t, s, "8.8.8.8/53", "1.1.1.1/443")
	s.output(t, "git", "ls-remote", "origin")

	found, err := f.docker.ContainerInspect(t.Context(), s.spec.Name, client.ContainerInspectOptions{})
	if err != nil {
		t.Fatal(err)
	}
	made, err := f.docker.NetworkCreate(t.Context(), f.pool+"-public", client.NetworkCreateOptions{
		Driver: "bridge", IPAM: &network.IPAM{Config: []network.IPAMConfig{{Subnet: netip.MustParsePrefix(subnet)}}},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if _, err := f.docker.NetworkRemove(context.Background(), made.ID, client.NetworkRemoveOptions{}); err != nil {
			t.Error(err)
		}
	})
	f.neighbour(t, found, "pkg.shop.example", container.NetworkMode(made.ID))
	f.neighbour(t, found, "pkg.other.example", container.NetworkMode(made.ID))
	_, err = f.docker.NetworkConnect(t.Context(), made.ID, client.NetworkConnectOptions{Container: found.Container.ID})
	if err != nil {
		t.Fatal(err)
	}
	defer f.docker.NetworkDisconnect(context.Background(), made.ID, client.NetworkDisconnectOptions{Container: found.Container.ID, Force: true})
	if got := reached(t, s, "pkg.shop.example/9418"); got["pkg.shop.example/9418"] != "reached" {
		t.Errorf("a name of the list: %v", got)
	}
	if out := s.output(t, "sh", "-c", "getent hosts pkg.other.example || true"); out != "" {
		t.Errorf("a name that the list lacks: %s", out)
	}
}
