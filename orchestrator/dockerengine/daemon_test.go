package dockerengine_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/testenv"
)

// daemon is a Docker engine of the test's own, beside the machine's, that may be tormented. It has a network namespace
// of its own: two engines in one fight over its bridges and its firewall.
type daemon struct {
	t       *testing.T
	dir     string // everything of it; short, since paths of sockets may not be long
	netns   string
	address string
	args    []string
	cmd     *exec.Cmd
	log     *os.File
}

// startDaemon starts an engine with the machine's workspace image in it.
func startDaemon(t *testing.T, label string) *daemon {
	t.Helper()
	docker := testenv.Docker(t)
	image := testenv.Image(t)
	if os.Getuid() != 0 {
		testenv.Missing(t, "not tested: only root can run a second Docker engine")
	}
	for _, program := range []string{"dockerd", "ip", "nsenter"} {
		if _, err := exec.LookPath(program); err != nil {
			testenv.Missing(t, "not tested: %s is not installed, so there can be no second Docker engine", program)
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
	d := &daemon{t: t, dir: dir, address: "unix://" + dir + "/d.sock"}
	config := filepath.Join(dir, "daemon.json")
	if err := os.WriteFile(config, []byte("{}"), 0o600); err != nil {
		t.Fatal(err)
	}
	if d.log, err = os.Create(filepath.Join(dir, "log")); err != nil {
		t.Fatal(err)
	}
	d.args = []string{
		"--config-file", config, "--host", d.address, "--pidfile", dir + "/d.pid",
		"--data-root", dir + "/data", "--exec-root", dir + "/run", "--storage-driver", info.Info.Driver,
		// The machine's own networks are reached through the veth pair, so none may have the same addresses.
		"--bip", "10.215.0.1/24", "--default-address-pool", "base=10.213.0.0/16,size=24",
		"--label", label,
	}
	d.connect()
	t.Cleanup(d.end)
	d.start()
	d.load(docker, image)
	return d
}

// connect makes the network namespace and leads its traffic to the machine.
func (d *daemon) connect() {
	d.t.Helper()
	d.netns = filepath.Base(d.dir)
	tag := d.netns[len(d.netns)-8:]
	outer, inner := "bo"+tag, "bi"+tag
	for _, args := range []string{
		"netns add " + d.netns,
		"link add " + outer + " type veth peer name " + inner + " netns " + d.netns,
		"addr add 10.214.0.1/30 dev " + outer,
		"link set " + outer + " up",
		"-n " + d.netns + " addr add 10.214.0.2/30 dev " + inner,
		"-n " + d.netns + " link set " + inner + " up",
		"-n " + d.netns + " link set lo up",
		"-n " + d.netns + " route add default via 10.214.0.1",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			exec.Command("ip", "netns", "delete", d.netns).Run()
			testenv.Missing(d.t, "not tested: this machine makes no network namespaces, so there can be no second Docker engine: ip %s: %v: %s", args, err, out)
		}
	}
}

func (d *daemon) start() {
	d.t.Helper()
	// It becomes dockerd. Unlike `ip netns exec` it leaves /sys alone, where the cgroups are.
	d.cmd = exec.Command("nsenter", append([]string{"--net=/run/netns/" + d.netns, "dockerd"}, d.args...)...)
	d.cmd.Stdout, d.cmd.Stderr = d.log, d.log
	if err := d.cmd.Start(); err != nil {
		d.t.Fatal(err)
	}
	docker := d.client()
	defer docker.Close()
	d.eventually("the second engine answers", func() bool {
		ctx, cancel := context.WithTimeout(context.Background(), time.Second)
		defer cancel()
		_, err := docker.Ping(ctx, client.PingOptions{})
		return err == nil
	})
}

func (d *daemon) client() *client.Client {
	d.t.Helper()
	docker, err := client.New(client.WithHost(d.address))
	if err != nil {
		d.t.Fatal(err)
	}
	return docker
}

// load copies an image from one engine to the other.
func (d *daemon) load(from *client.Client, image string) {
	d.t.Helper()
	saved, err := from.ImageSave(d.t.Context(), []string{image})
	if err != nil {
		d.t.Fatal(err)
	}
	defer saved.Close()
	to := d.client()
	defer to.Close()
	loaded, err := to.ImageLoad(d.t.Context(), saved)
	if err != nil {
		d.t.Fatal(err)
	}
	defer loaded.Close()
	var out bytes.Buffer
	if _, err := out.ReadFrom(loaded); err != nil || !strings.Contains(out.String(), "Loaded image") {
		d.t.Fatalf("loading %s into the second engine: %s, %v", image, out.String(), err)
	}
}

func (d *daemon) signal(s syscall.Signal) {
	d.t.Helper()
	if err := d.cmd.Process.Signal(s); err != nil {
		d.t.Fatal(err)
	}
}

// kill ends the engine without warning and waits for what it started to follow it. Containers may live on.
func (d *daemon) kill() {
	d.t.Helper()
	d.signal(syscall.SIGKILL)
	d.cmd.Wait()
	d.eventually("containerd has followed dockerd", func() bool { return len(d.processes("containerd")) == 0 })
	// It may be a zombie for a while, which the next dockerd would take for a containerd that lives.
	if err := os.Remove(filepath.Join(d.dir, "run", "containerd", "containerd.pid")); err != nil {
		d.t.Logf("the second engine's containerd: %v", err)
	}
}

// end stops the engine and removes all of it.
func (d *daemon) end() {
	d.cmd.Process.Signal(syscall.SIGCONT)
	d.cmd.Process.Signal(syscall.SIGTERM)
	ended := make(chan error, 1)
	go func() { ended <- d.cmd.Wait() }()
	select {
	case <-ended:
	case <-time.After(30 * time.Second):
		d.cmd.Process.Kill()
		<-ended
	}
	for _, pid := range d.processes("") {
		syscall.Kill(pid, syscall.SIGKILL)
	}
	if d.t.Failed() {
		text, _ := os.ReadFile(d.log.Name())
		d.t.Logf("the end of the second engine's log:\n%s", text[max(0, len(text)-4000):])
	}
	d.log.Close()
	if out, err := exec.Command("ip", "netns", "delete", d.netns).CombinedOutput(); err != nil {
		d.t.Errorf("removing the second engine's network: %v: %s", err, out)
	}
	mounts, _ := os.ReadFile("/proc/self/mounts")
	for line := range strings.Lines(string(mounts)) {
		if fields := strings.Fields(line); strings.HasPrefix(fields[1], d.dir+"/") {
			syscall.Unmount(fields[1], syscall.MNT_DETACH)
		}
	}
	if err := os.RemoveAll(d.dir); err != nil {
		d.t.Error(err)
	}
}

// processes returns those of a program that have the engine's directory among their arguments: its own.
func (d *daemon) processes(program string) (pids []int) {
	entries, _ := os.ReadDir("/proc")
	for _, e := range entries {
		pid, err := strconv.Atoi(e.Name())
		if err != nil || pid == os.Getpid() {
			continue
		}
		args, _ := os.ReadFile(filepath.Join("/proc", e.Name(), "cmdline"))
		name, _, _ := bytes.Cut(args, []byte{0})
		if bytes.Contains(args, []byte(d.dir+"/")) && (program == "" || filepath.Base(string(name)) == program) {
			pids = append(pids, pid)
		}
	}
	return pids
}

func (d *daemon) eventually(what string, is func() bool) {
	d.t.Helper()
	for deadline := time.Now().Add(30 * time.Second); !is(); time.Sleep(50 * time.Millisecond) {
		if time.Now().After(deadline) {
			d.t.Fatalf("after 30 s it does not hold that %s", what)
		}
	}
}

var errSlow = errors.New("it did not return")

// within runs a call and reports one that takes longer than it may.
func within(limit time.Duration, call func() error) error {
	ended := make(chan error, 1)
	go func() { ended <- call() }()
	select {
	case err := <-ended:
		return err
	case <-time.After(limit):
		return errSlow
	}
}
