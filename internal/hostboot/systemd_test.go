package hostboot_test

import (
	"context"
	"crypto/tls"
	"encoding/base64"
	"errors"
	"fmt"
	"math/rand/v2"
	"net"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/credentials"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/moby/moby/api/types/container"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/internal/test/hostboottest"
	"github.com/berth-go/berth/internal/test/testenv"
)

const (
	imageTimeout = 8 * time.Minute // for the image of the machines, which is made once
	bootsWithin  = 5 * time.Minute // a machine with systemd, on a busy computer
	offWithin    = 5 * time.Minute
)

// instance is an instance of a server that speaks EC2's protocol, with a machine that boots systemd and cloud-init.
type instance struct {
	*hostboottest.Machine
	server *ec2test.Server
	id     string
}

// launched launches an instance with user data, and returns it when its machine has power.
func launched(t *testing.T, userData []byte) instance {
	t.Helper()
	systemdImage(t)
	subnet := fmt.Sprintf("10.217.%d.0/24", rand.IntN(256)) // one of many: tests run side by side
	var server *ec2test.Server
	machines := make(chan *hostboottest.Machine, 1)
	failed := make(chan error, 1)
	var watch sync.WaitGroup
	server = ec2test.New(ec2test.Options{Instant: true, Boot: func(i ec2test.Instance) func() {
		m, err := hostboottest.Start(t.Context(), hostboottest.Options{Metadata: server.Metadata(i.ID), Address: i.PrivateIP})
		if err != nil {
			failed <- err
			return nil
		}
		watch.Go(func() {
			<-m.Ended()
			if m.PoweredOff() {
				server.Shutdown(i.ID)
			}
		})
		machines <- m
		return func() {
			if err := m.Stop(); err != nil {
				t.Error(err)
			}
			if left := m.Left(); len(left) > 0 {
				t.Errorf("the machine left %v", left)
			}
		}
	}})
	t.Cleanup(func() { server.Close(); watch.Wait() })
	sdk := ec2.NewFromConfig(aws.Config{
		Region: "us-east-1", HTTPClient: server.Client(), BaseEndpoint: aws.String(server.URL()),
		Credentials: credentials.NewStaticCredentialsProvider(ec2test.AccessKey, "secret", ""),
	})
	out, err := sdk.RunInstances(t.Context(), &ec2.RunInstancesInput{ // as package ec2cloud does
		ImageId: aws.String(server.Image(ec2test.ECSAmd64)), InstanceType: types.InstanceTypeT3Large,
		MinCount: aws.Int32(1), MaxCount: aws.Int32(1), SubnetId: aws.String(server.AddSubnet("us-east-1a", subnet)),
		UserData:                          aws.String(base64.StdEncoding.EncodeToString(userData)),
		InstanceInitiatedShutdownBehavior: types.ShutdownBehaviorTerminate,
		MetadataOptions:                   &types.InstanceMetadataOptionsRequest{HttpTokens: types.HttpTokensStateRequired},
	})
	if err != nil {
		t.Fatal(err)
	}
	select {
	case m := <-machines:
		t.Cleanup(func() {
			if t.Failed() {
				t.Log(m.Log())
			}
		})
		return instance{m, server, *out.Instances[0].InstanceId}
	case err := <-failed:
		t.Fatal(err)
		return instance{}
	}
}

// systemdImage makes the image that machines with systemd boot.
func systemdImage(t *testing.T) {
	t.Helper()
	err := hostboottest.ReadySystemd()
	if err == nil {
		ctx, cancel := context.WithTimeout(t.Context(), imageTimeout)
		defer cancel()
		_, err = hostboottest.Image(ctx, func(line string) { t.Log(line) })
	}
	if errors.Is(err, hostboottest.ErrMissing) {
		testenv.Missing(t, "not tested: %v", err)
	}
	if err != nil {
		t.Fatal(err)
	}
}

// within waits until something holds, and returns when it is too late or the machine is off.
func (i instance) within(t *testing.T, limit time.Duration, what string, is func() bool) {
	t.Helper()
	for begin := time.Now(); !is(); time.Sleep(100 * time.Millisecond) {
		select {
		case <-i.Ended():
			t.Fatalf("the machine is off before it holds that %s", what)
		default:
		}
		if time.Since(begin) > limit {
			t.Fatalf("after %s it does not hold that %s", limit, what)
		}
	}
}

// says reports whether a script succeeds on the machine.
func (i instance) says(t *testing.T, script string) bool {
	_, err := i.Run(t.Context(), script)
	return err == nil
}

// must runs a script on the machine.
func (i instance) must(t *testing.T, script string) string {
	t.Helper()
	out, err := i.Run(t.Context(), script)
	if err != nil {
		t.Fatalf("%s: %v: %s", script, err, out)
	}
	return strings.TrimSpace(out)
}

// listens reports whether anything answers at the engine's port.
func (i instance) listens() bool {
	conn, err := net.DialTimeout("tcp", strings.TrimPrefix(i.Address(), "tcp://"), time.Second)
	if err == nil {
		conn.Close()
	}
	return err == nil
}

// answers reports whether the engine speaks TLS on its port. Docker opens the port before it reads its storage driver, and
// answers nothing until it is set up.
func (i instance) answers() bool {
	ctx, cancel := context.WithTimeout(context.Background(), time.Second)
	defer cancel()
	d := tls.Dialer{Config: &tls.Config{InsecureSkipVerify: true}}
	conn, err := d.DialContext(ctx, "tcp", strings.TrimPrefix(i.Address(), "tcp://"))
	if err != nil {
		return false
	}
	conn.Close()
	return true
}

// isGone waits until the machine has powered itself off, and checks that EC2 has then terminated the instance.
func (i instance) isGone(t *testing.T) {
	t.Helper()
	select {
	case <-i.Ended():
	case <-time.After(offWithin):
		t.Fatalf("after %s the machine is up", offWithin)
	}
	if !i.PoweredOff() {
		t.Error("the machine has ended, and not by powering off")
	}
	eventually(t, "the instance is terminated", func() bool { return i.server.Instance(i.id).State == ec2test.Terminated })
	if reason := i.server.Instance(i.id).Reason; reason != "Client.InstanceInitiatedShutdown" {
		t.Errorf("it was terminated for %s", reason)
	}
}

// TestSystemdMachine boots a machine by systemd and cloud-init alone, lets it reboot, and leaves it.
func TestSystemdMachine(t *testing.T) {
	t.Parallel()
	here, image := testenv.Docker(t), testenv.Image(t)
	const deadMan = 15 * time.Second
	p := newPool(t)
	userData, trust := p.boot(t, launch, hostboot.Options{
		Daemon: hostboottest.Daemon(), DeadMan: deadMan, Extra: "touch /run/waits\nuntil [ -e /run/go ]; do sleep 0.1; done\n",
	})
	m := launched(t, userData)
	m.within(t, bootsWithin, "the pool's own script runs", func() bool { return m.says(t, "test -e /run/waits") })
	if out := m.must(t, "docker version --format '{{.Server.Version}}'"); out == "" || m.listens() {
		t.Errorf("while the pool's script runs, Docker is %q, and port %d is open: %t", out, hostboot.Port, m.listens())
	}
	if got := m.must(t, "cat /var/lib/cloud/instance/user-data.txt"); got != strings.TrimSpace(string(userData)) {
		t.Errorf("cloud-init ran other user data: %s", got)
	}
	m.must(t, "systemctl reboot") // in the midst of the bootstrap
	m.within(t, bootsWithin, "the pool's own script runs again", func() bool { return m.Boots() == 2 && m.says(t, "test -e /run/waits") })
	m.must(t, "touch /run/go")
	docker := connect(t, m.Machine, must(p.TLS(launch, trust))(t))
	ready := func() bool { _, err := docker.Ping(t.Context(), client.PingOptions{}); return err == nil }
	m.within(t, bootsWithin, "the engine answers over TLS", ready)
	ended := touch(t, docker)
	isReady(t, m, docker)
	onDisk := checkDisk(t, m)
	must(docker.VolumeCreate(t.Context(), client.VolumeCreateOptions{Name: "kept"}))(t)
	load(t, here, docker, image)
	t.Run("the listener came last", func(t *testing.T) { testListenerIsLast(t, m) })
	t.Run("strangers are refused", func(t *testing.T) { testStrangers(t, p, m.Machine, trust) })
	t.Run("the metadata service is cut off", func(t *testing.T) { testCutOff(t, m, docker, image) })

	t.Run("a reboot", func(t *testing.T) {
		id := must(docker.ContainerCreate(t.Context(), client.ContainerCreateOptions{
			Name: "before", Config: &container.Config{
				Image: image, Labels: map[string]string{"mine": "yes"},
				Cmd: []string{"bash", "-c", "trap exit TERM; while :; do sleep 0.5; done"}, // as the agent, it ends when it is told to
			},
		}))(t).ID
		must(docker.ContainerStart(t.Context(), id, client.ContainerStartOptions{}))(t)
		m.must(t, "systemctl reboot")
		m.within(t, bootsWithin, "the machine boots again", func() bool { return m.Boots() == 3 })
		m.within(t, bootsWithin, "the engine answers over TLS again", ready)
		isReady(t, m, docker)
		if again := checkDisk(t, m); again != onDisk {
			t.Errorf("the volumes were on %q, and are on %q", onDisk, again)
		}
		must(docker.VolumeInspect(t.Context(), "kept", client.VolumeInspectOptions{}))(t)
		found := must(docker.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{}))(t).Container
		if found.State.Running || found.Config.Labels["mine"] != "yes" {
			t.Errorf("the container from before the reboot: running %t, labels %v", found.State.Running, found.Config.Labels)
		}
		if n := m.must(t, "grep -c 'user data\\|the files are written' /var/log/cloud-init-output.log"); n != "1" {
			t.Errorf("the user data ran %s times", n)
		}
		testCutOff(t, m, docker, image)
	})
	t.Run("the dead man's switch", func(t *testing.T) { testSwitch(t, m, deadMan, ended) })
}

// testSwitch lets a machine that is touched stay up for longer than deadMan, and then stops the touches by ended.
func testSwitch(t *testing.T, m instance, deadMan time.Duration, ended func()) {
	begin := must(strconv.ParseFloat(strings.Fields(m.must(t, "cat /proc/uptime"))[0], 64))(t)
	m.within(t, bootsWithin, "a machine that is touched stays up for longer than it may without", func() bool {
		now := must(strconv.ParseFloat(strings.Fields(m.must(t, "cat /proc/uptime"))[0], 64))(t)
		return now-begin > deadMan.Seconds()+5
	})
	left := time.Now()
	ended()
	m.isGone(t)
	if after := time.Since(left); after < deadMan-5*time.Second {
		t.Errorf("it has powered off %s after the last touch", after)
	}
	if !strings.Contains(m.Console(), "no manager has touched this machine for") {
		t.Error("the console does not say why it powered off")
	}
}

// touch touches a machine as a manager does, until the returned function is called or the test ends.
func touch(t *testing.T, docker *client.Client) (end func()) {
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	wg.Go(func() {
		for ctx.Err() == nil {
			docker.VolumeCreate(ctx, client.VolumeCreateOptions{Name: hostboot.TouchVolume}) // it fails while the machine reboots
			select {
			case <-ctx.Done():
			case <-time.After(time.Second):
			}
		}
	})
	end = func() { cancel(); wg.Wait() }
	t.Cleanup(end)
	return end
}

// isReady checks the state of a machine that takes work.
func isReady(t *testing.T, m instance, docker *client.Client) {
	t.Helper()
	info := must(docker.Info(t.Context(), client.InfoOptions{}))(t).Info
	labels := slices.Sorted(slices.Values(info.Labels))
	if !slices.Equal(labels, []string{"berth.launch=" + launch, "berth.pool=acme"}) || !info.LiveRestoreEnabled {
		t.Errorf("labels %v, live restore %t", labels, info.LiveRestoreEnabled)
	}
	for _, unit := range []string{"docker.service", "berth-disk.service", "berth-notice.service", "berth-dead-man.timer"} {
		if out, err := m.Run(t.Context(), "systemctl is-active "+unit+" && systemctl is-enabled "+unit); err != nil || out != "active\nenabled\n" {
			t.Errorf("%s: %v: %s", unit, err, out)
		}
	}
	if out := m.must(t, "systemctl --failed --plain --no-legend | grep berth || true"); out != "" {
		t.Errorf("failed: %s", out)
	}
	if n := strings.Count(m.must(t, "iptables -t raw -S PREROUTING"), "-j DROP"); n != 3 {
		t.Errorf("%d packets are dropped", n)
	}
}

// testListenerIsLast asks systemd for the times of the steps.
func testListenerIsLast(t *testing.T, m instance) {
	at := func(unit, property string) int {
		return must(strconv.Atoi(m.must(t, "systemctl show --value --property="+property+" "+unit)))(t)
	}
	listener := at("docker.service", "ExecMainStartTimestampMonotonic")
	for unit, property := range map[string]string{
		"berth-dead-man.timer": "ActiveEnterTimestampMonotonic",
		"berth-notice.service": "ActiveEnterTimestampMonotonic",
		"berth-disk.service":   "ActiveEnterTimestampMonotonic",
	} {
		if began := at(unit, property); began == 0 || began > listener {
			t.Errorf("%s began at %d, and Docker with its listener at %d", unit, began, listener)
		}
	}
	pre := m.must(t, "systemctl show --property=ExecStartPre docker.service")
	if !regexp.MustCompile(`berth-firewall .*status=0`).MatchString(pre) { // systemd starts ExecStart after it
		t.Errorf("the firewall: %s", pre)
	}
}

// testCutOff tries to reach the metadata service: the machine must, and a container must not.
func testCutOff(t *testing.T, m instance, docker *client.Client, image string) {
	const service = "169.254.169.254/80"
	m.must(t, "curl -sf -m 5 -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' http://169.254.169.254/latest/api/token")
	if got := reach(t, docker, image, "bridge", service); len(got) != 0 {
		t.Errorf("a container reaches %v", got)
	}
	m.must(t, "iptables -t raw -D PREROUTING -d 169.254.169.254 -j DROP")
	if got := reach(t, docker, image, "bridge", service); !slices.Equal(got, []string{service}) {
		t.Errorf("without the rule a container reaches %v", got)
	}
	m.must(t, "berth-firewall")
}

// TestSystemdMachineThatCannotBoot: EC2 terminates a machine that will never be ready.
func TestSystemdMachineThatCannotBoot(t *testing.T) {
	for name, c := range map[string]struct {
		o      hostboot.Options
		before string // what runs before the user data, in the same script
		says   string // on the console
	}{
		"Docker refuses its settings": {o: hostboot.Options{Daemon: map[string]any{"storage-driver": "nonsense"}}, says: "the last step"},
		"it takes too long":           {o: hostboot.Options{BootDeadline: 10 * time.Second, Extra: "sleep 1000"}, says: "the bootstrap took too long"},
		"its script is too long for plain user data": {
			o: hostboot.Options{Extra: random(6000) + "echo the last line\nfalse\n"}, says: "the last line",
		},
		"the user data fails": {before: "touch /etc/berth\n", says: "the user data failed: powering off"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			userData, _ := newPool(t).boot(t, launch, c.o)
			if c.before != "" {
				userData = []byte("#!/bin/bash\n" + c.before + string(userData))
			}
			m := launched(t, userData)
			answers := make(chan bool, 1)
			go func() {
				answered := false
				for off := false; !off; {
					answered = answered || m.answers()
					select {
					case <-m.Ended():
						off = true
					case <-time.After(100 * time.Millisecond):
					}
				}
				answers <- answered
			}()
			m.isGone(t)
			if <-answers {
				t.Error("its engine has answered")
			}
			if !strings.Contains(m.Console(), c.says) {
				t.Errorf("the console does not say %q: %s", c.says, m.Console())
			}
		})
	}
}
