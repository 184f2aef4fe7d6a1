package hostboot_test

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/internal/test/hostboottest"
)

const (
	amazonLinux = "NAME=\"Amazon Linux\"\nVERSION=\"2023\"\nID=\"amzn\"\nID_LIKE=\"fedora\"\nVERSION_ID=\"2023\"\n"
	ubuntu      = "NAME=\"Ubuntu\"\nVERSION_ID=\"24.04\"\nID=ubuntu\nID_LIKE=debian\n"
)

// inOrder checks that lines with these beginnings are among the calls, in this order.
func inOrder(t *testing.T, calls []string, want ...string) {
	t.Helper()
	at := 0
	for _, w := range want {
		i := slices.IndexFunc(calls[at:], func(call string) bool { return strings.HasPrefix(call, w) })
		if i < 0 {
			t.Errorf("after call %d there is no %q", at, w)
			continue
		}
		at += i + 1
	}
}

func TestBootstrapInstallsDockerAndOpensThePortLast(t *testing.T) {
	for _, c := range []struct {
		name, release string
		install       []string // the calls that install Docker; nil = it is there
		fails         int
	}{
		{"Amazon Linux 2023", amazonLinux, []string{"dnf -y install docker (daemon.json missing)"}, 0},
		{"Amazon Linux 2023 for ECS", amazonLinux, nil, 0},
		{"Ubuntu", ubuntu, []string{
			"dpkg --configure -a",
			"apt-get -q update (daemon.json missing)",
			"apt-get -q -y --no-install-recommends -o DPkg::Lock::Timeout=60 install docker.io (daemon.json missing)",
		}, 0},
		{"Ubuntu with Docker", ubuntu, nil, 0},
		{"a mirror that fails once", amazonLinux, []string{
			"dnf -y install docker (daemon.json missing)",
			"dnf -y install docker (daemon.json missing)",
		}, 1},
	} {
		t.Run(c.name, func(t *testing.T) {
			userData, _ := newPool(t).boot(t, launch, hostboot.Options{
				Extra: `echo "the pool's own script: $(ls /etc/docker/daemon.json 2>&1)" >>"$MACHINE/calls"`,
			})
			var hidden []string
			if c.install != nil {
				hidden = []string{"dockerd"}
			}
			m := hostboottest.Boot(t, hostboottest.Options{
				UserData: userData, OSRelease: c.release, Hidden: hidden, MirrorFails: c.fails,
			})
			if !m.Booted() {
				t.Fatal("the user data failed")
			}
			calls := m.Calls()
			var want []string
			want = append(want, "systemctl enable berth-boot.service", "systemctl start --no-block berth-boot.service",
				"systemctl mask ecs.service", "systemctl mask apt-daily.timer", "systemctl stop unattended-upgrades.service",
				"systemctl mask dnf-automatic.timer")
			want = append(want, c.install...)
			want = append(want, "docker starts with daemon.json missing", "the pool's own script: ls: cannot access",
				"systemctl enable --now berth-notice.service", "systemctl enable --now berth-dead-man.timer",
				"systemctl stop docker.socket docker.service", "systemctl daemon-reload",
				"systemctl enable --now berth-disk.service", "systemctl enable docker.service",
				"systemctl start docker.service", "docker starts with daemon.json there")
			inOrder(t, calls, want...)
			if last := calls[len(calls)-1]; last != "docker starts with daemon.json there" {
				t.Errorf("the last call is %q", last)
			}
			if n := len(c.install); n == 0 && slices.ContainsFunc(calls, func(call string) bool { return strings.Contains(call, " install ") }) {
				t.Error("Docker is there, and something is installed")
			}
			if !strings.HasSuffix(m.Console(), "berth-boot.service goes on\n") || !strings.Contains(m.Console(), "berth: ready\n") {
				t.Errorf("the console: %s", m.Console())
			}
			checkFiles(t, m, userData)
			checkReboot(t, m)
		})
	}
}

// checkFiles compares the files on the machine with those in the user data.
func checkFiles(t *testing.T, m *hostboottest.Machine, userData []byte) {
	t.Helper()
	want := filesOf(userData)
	for path, copied := range map[string]string{
		"/etc/docker/daemon.json":                            "/etc/berth/daemon.json",
		"/etc/systemd/system/docker.service.d/90-berth.conf": "/etc/berth/docker.conf",
	} {
		want[path] = bootFile{"0644", want[copied].text}
	}
	for path, f := range want {
		got, err := os.ReadFile(m.Path(path))
		if err != nil || string(got) != f.text {
			t.Errorf("%s: %v, %q", path, err, got)
			continue
		}
		if info, err := os.Stat(m.Path(path)); err != nil || fmt.Sprintf("%04o", info.Mode().Perm()) != f.mode {
			t.Errorf("%s: %v, %v; want %s", path, info.Mode(), err, f.mode)
		}
	}
	for _, dir := range []string{"/etc/berth", "/etc/berth/tls"} {
		if info, err := os.Stat(m.Path(dir)); err != nil || info.Mode().Perm() != 0o700 {
			t.Errorf("%s: %v, %v", dir, info, err)
		}
	}
	if left, _ := filepath.Glob(m.Path("/etc/berth/tls/*.new")); len(left) > 0 {
		t.Errorf("left behind: %v", left)
	}
}

// checkReboot checks that a reboot and a second run of the user data change nothing.
func checkReboot(t *testing.T, m *hostboottest.Machine) {
	t.Helper()
	before := len(m.Calls())
	if out, err := m.Run(t.Context(), `systemctl start berth-boot.service && bash "$MACHINE/user-data"`); err != nil {
		t.Errorf("again: %v: %s", err, out)
	}
	want := []string{
		"systemctl start berth-boot.service", "the condition of berth-boot.service does not hold",
		"systemctl daemon-reload", "systemctl enable berth-boot.service", "systemctl start --no-block berth-boot.service",
		"the condition of berth-boot.service does not hold",
	}
	if got := m.Calls()[before:]; !slices.Equal(got, want) {
		t.Errorf("after a reboot: %v", got)
	}
}

func TestBootstrapThatFailsPowersOff(t *testing.T) {
	for name, c := range map[string]struct {
		o    hostboot.Options
		m    hostboottest.Options
		spit string // what the console says
	}{
		"the pool's script fails": {o: hostboot.Options{Extra: "echo before\nfalse\necho after"}, spit: "before"},
		"an unknown system": {
			m: hostboottest.Options{OSRelease: "ID=plan9\n", Hidden: []string{"dockerd"}}, spit: "docker.io is missing",
		},
		"it takes too long": {o: hostboot.Options{Extra: "sleep 1000", BootDeadline: 20 * time.Second}, spit: "the pool's own script"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			c.m.UserData, _ = newPool(t).boot(t, launch, c.o)
			m := hostboottest.Boot(t, c.m)
			calls := m.Calls()
			if !slices.Contains(calls, "poweroff") || slices.Contains(calls, "docker starts with daemon.json there") {
				t.Errorf("%v", calls)
			}
			if !strings.Contains(m.Console(), c.spit) || strings.Contains(m.Console(), "after") {
				t.Error(m.Console())
			}
		})
	}
}

// TestUserDataThatFailsPowersOff: before systemd has its unit, the script itself powers the machine off.
func TestUserDataThatFailsPowersOff(t *testing.T) {
	userData, _ := newPool(t).boot(t, launch, hostboot.Options{})
	m := hostboottest.Boot(t, hostboottest.Options{
		UserData: []byte("touch /etc/berth\n" + string(userData)), // a file is where a directory should be
	})
	if m.Booted() || !slices.Contains(m.Calls(), "poweroff") || !strings.Contains(m.Console(), "powering off") {
		t.Errorf("%v: %s", m.Calls(), m.Console())
	}
}

// TestUnitsAreSound asks systemd itself, if it is installed.
func TestUnitsAreSound(t *testing.T) {
	userData, _ := newPool(t).boot(t, launch, hostboot.Options{})
	dir := t.TempDir()
	var units []string
	for path, f := range filesOf(userData) {
		text := f.text
		switch {
		case strings.HasPrefix(path, "/etc/systemd/system/"):
		case path == "/etc/berth/docker.conf":
			path, text = "docker.service", "[Unit]\nDescription=x\n"+text
		default:
			continue
		}
		// A machine that runs tests does not have the programs.
		text = strings.ReplaceAll(text, "=/usr/local/sbin/", "=/bin/true ")
		text = strings.ReplaceAll(text, "=dockerd", "=/bin/true")
		unit := filepath.Join(dir, filepath.Base(path))
		if err := os.WriteFile(unit, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		units = append(units, unit)
	}
	if len(units) != 6 {
		t.Errorf("%d units", len(units))
	}
	if _, err := exec.LookPath("systemd-analyze"); err != nil {
		t.Log("not verified: systemd-analyze is not installed")
		return
	}
	out, err := exec.Command("systemd-analyze", append([]string{"verify", "--man=no", "--recursive-errors=no"}, units...)...).CombinedOutput()
	if err != nil || strings.Contains(string(out), dir) {
		t.Errorf("%v: %s", err, out)
	}
}
