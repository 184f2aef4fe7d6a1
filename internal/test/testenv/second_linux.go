package testenv

import (
	"bytes"
	"context"
	"fmt"
	"math/rand/v2"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"
)

// SecondEngine is a Docker engine of the test's own, beside the machine's. The test may harm it. It has its own network
// namespace, because two engines in one conflict over bridges and the firewall.
type SecondEngine struct {
	Address string // for DOCKER_HOST
	IP      string // its address for this machine, if it listens
	Data    string // the directory of its images, containers and volumes

	t     testing.TB
	dir   string // has all its files; short, because the paths of sockets may not be long
	netns string
	outer string // this machine's address in its network
	args  []string
	added int // at the end of args: SecondEngineOptions.Args
	cmd   *exec.Cmd
	log   *os.File
}

// SecondEngineOptions are the settings of a second engine that differ from the machine's.
type SecondEngineOptions struct {
	Label string   // "key=value"; "" = none
	Args  []string // more arguments for dockerd
	Disk  int64    // the size in bytes of its own disk in memory, which also holds the image; 0 = the machine's disk
}

// StartSecondEngine starts an engine with the machine's workspace image in it. It ends with the test. It can reach
// servers on the bridge of the machine's engine.
func StartSecondEngine(t testing.TB, opts SecondEngineOptions) *SecondEngine {
	t.Helper()
	docker := Docker(t)
	image := Image(t)
	if os.Getuid() != 0 {
		Missing(t, "not tested: only root can run a second Docker engine")
	}
	for _, program := range []string{"dockerd", "ip", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			Missing(t, "not tested: %s is not installed, so there can be no second Docker engine", program)
		}
	}
	info, err := docker.Info(t.Context(), client.InfoOptions{})
	if err != nil {
		t.Fatal(err)
	}
	dir, err := os.MkdirTemp("/tmp", "bd")
	if err != nil {
		t.Fatal(err)
	}
	e := &SecondEngine{t: t, dir: dir, Address: "unix://" + dir + "/d.sock", Data: dir + "/data"}
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if e.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	e.args = []string{
		"--config-file", config, "--host", e.Address, "--pidfile", dir + "/d.pid",
		"--data-root", e.Data, "--exec-root", dir + "/run", "--storage-driver", info.Info.Driver,
		// The engine reaches the machine's networks through the veth pair, so none of its own may have the same
		// addresses.
		"--bip", "10.215.0.1/24", "--default-address-pool", "base=10.213.0.0/16,size=24",
	}
	if opts.Label != "" {
		e.args = append(e.args, "--label", opts.Label)
	}
	e.args, e.added = append(e.args, opts.Args...), len(opts.Args)
	e.connect()
	t.Cleanup(e.end)
	if opts.Disk > 0 {
		e.mount(opts.Disk)
	}
	e.Start()
	e.load(docker, image)
	return e
}

// Configure writes the engine's daemon.json. The engine reads it at its next start, which is without
// SecondEngineOptions.Args.
func (e *SecondEngine) Configure(config string) {
	e.t.Helper()
	e.args = e.args[:len(e.args)-e.added]
	e.added = 0
	if err := os.WriteFile(filepath.Join(e.dir, "daemon.json"), []byte(config), 0o600); err != nil {
		e.t.Fatal(err)
	}
}

// connect makes the network namespace and routes its traffic to the machine.
func (e *SecondEngine) connect() {
	e.t.Helper()
	e.netns = filepath.Base(e.dir)
	tag := e.netns[len(e.netns)-8:]
	outer, inner := "bo"+tag, "bi"+tag
	n := rand.IntN(1 << 14) // test binaries run at the same time, each with an engine
	addr := func(host int) string { return fmt.Sprintf("10.214.%d.%d", n>>6, n&63<<2|host) }
	e.outer, e.IP = addr(1), addr(2)
	steps := []string{
		"netns add " + e.netns,
		"link add " + outer + " type veth peer name " + inner + " netns " + e.netns,
		"addr add " + e.outer + "/30 dev " + outer,
		"link set " + outer + " up",
		"-n " + e.netns + " addr add " + e.IP + "/30 dev " + inner,
		"-n " + e.netns + " link set " + inner + " up",
		"-n " + e.netns + " link set lo up",
		"-n " + e.netns + " route add default via " + e.outer,
	}
	// The machine's name servers do not answer to unknown addresses. Without a route to them, a look-up fails at once
	// and not after a minute.
	config, _ := os.ReadFile("/etc/resolv.conf")
	for line := range strings.Lines(string(config)) {
		server, ok := strings.CutPrefix(line, "nameserver ")
		if addr, err := netip.ParseAddr(strings.TrimSpace(server)); ok && err == nil && addr.Is4() && !addr.IsLoopback() {
			steps = append(steps, "-n "+e.netns+" route replace unreachable "+addr.String())
		}
	}
	for _, args := range steps {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			exec.Command("ip", "netns", "delete", e.netns).Run()
			e.log.Close()
			os.RemoveAll(e.dir)
			Missing(e.t, "not tested: this machine makes no network namespaces, so there can be no second Docker engine: ip %s: %v: %s", args, err, out)
		}
	}
}

// mount gives the engine a disk of its own.
func (e *SecondEngine) mount(size int64) {
	e.t.Helper()
	if err := os.Mkdir(e.Data, 0o711); err != nil {
		e.t.Fatal(err)
	}
	if err := syscall.Mount("none", e.Data, "tmpfs", 0, fmt.Sprintf("mode=711,size=%d", size)); err != nil {
		Missing(e.t, "not tested: this machine mounts no file system in memory, so that a second Docker engine could have a disk of its own: %v", err)
	}
}

// Start starts the engine again after Kill or Stop, and returns when it answers.
func (e *SecondEngine) Start() {
	e.t.Helper()
	// nsenter becomes dockerd. Unlike `ip netns exec`, it does not change /sys, which has the cgroups.
	e.cmd = exec.Command("nsenter", append([]string{"--net=/run/netns/" + e.netns, "dockerd"}, e.args...)...)
	e.cmd.Stdout, e.cmd.Stderr = e.log, e.log
	if err := e.cmd.Start(); err != nil {
		e.t.Fatal(err)
	}
	docker := e.client()
	defer docker.Close()
	e.eventually("the second engine answers", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := docker.Ping(ctx, client.PingOptions{})
		return err == nil
	})
}

func (e *SecondEngine) client() *client.Client {
	e.t.Helper()
	docker, err := client.New(client.WithHost(e.Address))
	if err != nil {
		e.t.Fatal(err)
	}
	return docker
}

// load copies an image from one engine to another.
func (e *SecondEngine) load(from *client.Client, image string) {
	e.t.Helper()
	saved, err := from.ImageSave(e.t.Context(), []string{image})
	if err != nil {
		e.t.Fatal(err)
	}
	defer saved.Close()
	to := e.client()
	defer to.Close()
	loaded, err := to.ImageLoad(e.t.Context(), saved)
	if err != nil {
		e.t.Fatal(err)
	}
	defer loaded.Close()
	var out bytes.Buffer
	if _, err := out.ReadFrom(loaded); err != nil || !strings.Contains(out.String(), "Loaded image") {
		e.t.Fatalf("loading %s into the second engine: %s, %v", image, out.String(), err)
	}
}

// Hang pauses the engine until Resume, so that it accepts connections and does not answer.
func (e *SecondEngine) Hang() {
	e.t.Helper()
	e.signal(syscall.SIGSTOP)
	// On a busy machine it may continue for a while, until one of its threads has received the signal.
	e.eventually("every thread of the second engine has stopped", func() bool {
		threads, _ := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", e.cmd.Process.Pid))
		return len(threads) > 0 && !slices.ContainsFunc(threads, func(stat string) bool {
			text, err := os.ReadFile(stat)
			return err == nil && !bytes.Contains(text, []byte(") T ")) // after the name, which is in brackets
		})
	})
}

// Resume ends Hang.
func (e *SecondEngine) Resume() { e.signal(syscall.SIGCONT) }

// Vanish drops everything that the engine's machine sends, even the ends of connections, until Reappear.
func (e *SecondEngine) Vanish() { e.route("add") }

// Reappear ends Vanish.
func (e *SecondEngine) Reappear() { e.route("delete") }

func (e *SecondEngine) route(verb string) {
	e.t.Helper()
	out, err := exec.Command("ip", "-n", e.netns, "route", verb, "blackhole", e.outer+"/32").CombinedOutput()
	if err != nil {
		e.t.Fatalf("ip route %s: %v: %s", verb, err, out)
	}
}

func (e *SecondEngine) signal(s syscall.Signal) {
	e.t.Helper()
	if err := e.cmd.Process.Signal(s); err != nil {
		e.t.Fatal(err)
	}
}

// Kill ends the engine without warning and waits for the end of the programs that it started. Containers may live on.
func (e *SecondEngine) Kill() {
	e.t.Helper()
	e.signal(syscall.SIGKILL)
	e.cmd.Wait()
	e.eventually("containerd has followed dockerd", func() bool { return len(e.processes("containerd")) == 0 })
	// It may be a zombie for a while, and the next dockerd would take that for a running containerd.
	if err := os.Remove(filepath.Join(e.dir, "run", "containerd", "containerd.pid")); err != nil {
		e.t.Logf("the second engine's containerd: %v", err)
	}
}

// end stops the engine and removes all of it.
func (e *SecondEngine) end() {
	if e.cmd != nil && e.cmd.Process != nil {
		e.Stop()
	}
	for _, pid := range e.processes("") {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if e.t.Failed() {
		text, _ := os.ReadFile(e.log.Name())
		e.t.Logf("the end of the second engine's log:\n%s", text[max(0, len(text)-4000):])
	}
	e.log.Close()
	if out, err := exec.Command("ip", "netns", "delete", e.netns).CombinedOutput(); err != nil {
		e.t.Errorf("removing the second engine's network: %v: %s", err, out)
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[1], e.dir+"/") {
			syscall.Unmount(fields[1], syscall.MNT_DETACH)
		}
	}
	if err := os.RemoveAll(e.dir); err != nil {
		e.t.Error(err)
	}
}

// Stop ends the engine, and kills it if an orderly end takes too long.
func (e *SecondEngine) Stop() {
	e.cmd.Process.Signal(syscall.SIGCONT)
	e.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- e.cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		e.cmd.Process.Kill()
		<-ended
	}
}

// processes returns the engine's own processes of a program: those with the engine's directory among their arguments.
func (e *SecondEngine) processes(program string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, entry := range entries {
		pid, err := strconv.Atoi(entry.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		args, _ := os.ReadFile(filepath.Join("/proc", entry.Name(), "cmdline"))
		name, _, _ := bytes.Cut(args, []byte{0})
		if bytes.Contains(args, []byte(e.dir+"/")) && (program == "" || filepath.Base(string(name)) == program) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (e *SecondEngine) eventually(what string, is func() bool) {
	e.t.Helper()
	const patience = 2 * time.Minute
	for deadline := time.Now().Add(patience); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			e.t.Fatalf("after %v it does not hold that %s", patience, what)
		}
	}
}
