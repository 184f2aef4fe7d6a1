package hostboot_test

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/hostboot"
)

func TestUserDataFits(t *testing.T) {
	p := newPool(t)
	plain, _ := p.boot(t, strings.Repeat("l", 63), hostboot.Options{})
	t.Logf("%d of %d bytes", len(plain), hostboot.MaxUserData)
	if room := hostboot.MaxUserData - len(plain); room < 1500 {
		t.Errorf("only %d bytes are left for Extra and Daemon without compression", room)
	}
	o := hostboot.Options{LaunchID: launch, Pool: "acme", ClientCA: p.ca, Extra: random(8000)}
	long, _, err := hostboot.Boot(o)
	if err != nil || len(long) > hostboot.MaxUserData {
		t.Fatalf("there is no room for a script of 8,000 bytes: %v", err)
	}
	unpacked, err := gzip.NewReader(bytes.NewReader(long))
	if err != nil {
		t.Fatal(err)
	}
	if text, err := io.ReadAll(unpacked); err != nil || filesOf(text)["/etc/berth/extra"].text != o.Extra {
		t.Errorf("compressed user data: %v, %s", err, text)
	}
	o.Extra = random(16000)
	_, _, err = hostboot.Boot(o)
	if err == nil || !strings.Contains(err.Error(), "bytes too long") || !strings.Contains(err.Error(), "16384") {
		t.Errorf("too much: %v", err)
	}
}

func TestBootNamesWhatIsWrong(t *testing.T) {
	p := newPool(t)
	for field, spoil := range map[string]func(*hostboot.Options){
		"LaunchID":     func(o *hostboot.Options) { o.LaunchID = "a b" },
		"Pool":         func(o *hostboot.Options) { o.Pool = "$(reboot)" },
		"ClientCA":     func(o *hostboot.Options) { o.ClientCA = nil },
		"MaxAge":       func(o *hostboot.Options) { o.MaxAge = -1 },
		"BootDeadline": func(o *hostboot.Options) { o.BootDeadline = -1 },
		"DeadMan":      func(o *hostboot.Options) { o.DeadMan = -2 },
		"Daemon":       func(o *hostboot.Options) { o.Daemon = map[string]any{"tlsverify": false} },
		"extra":        func(o *hostboot.Options) { o.Extra = "true\nEND-OF-BERTH-FILE\nreboot\n" },
		"Disk":         func(o *hostboot.Options) { o.Disk = "/dev/$(reboot)" },
		"DiskGiB":      func(o *hostboot.Options) { o.DiskGiB = -2 },
		"data-root":    func(o *hostboot.Options) { o.Daemon = map[string]any{"data-root": "/mnt/a b"} },
		"AvoidCIDRs": func(o *hostboot.Options) {
			o.AvoidCIDRs = []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")}
		},
	} {
		o := hostboot.Options{LaunchID: launch, Pool: "acme", ClientCA: p.ca}
		spoil(&o)
		if _, _, err := hostboot.Boot(o); err == nil || !strings.Contains(err.Error(), field) {
			t.Errorf("%s: %v", field, err)
		}
	}
}

// TestBootNamesAllThatIsWrong: no fault hides another, and each is an error of the caller's own type.
func TestBootNamesAllThatIsWrong(t *testing.T) {
	var fields []string
	_, _, err := hostboot.Boot(hostboot.Options{
		LaunchID: launch, Pool: "acme", ClientCA: newPool(t).ca, BootDeadline: -1, DeadMan: -2, MaxAge: -1,
		Daemon:     map[string]any{"tlsverify": false, "hosts": nil},
		AvoidCIDRs: []netip.Prefix{netip.MustParsePrefix("0.0.0.0/0")},
		Extra:      "END-OF-BERTH-FILE\n" + random(20000),
		FieldError: func(field, reason string) error {
			fields = append(fields, field)
			return errors.New(field + ": " + reason)
		},
	})
	slices.Sort(fields)
	if got := strings.Join(fields, " "); got != "AvoidCIDRs BootDeadline Daemon Daemon DeadMan Extra Extra MaxAge" {
		t.Errorf("%s: %v", got, err)
	}
	for _, want := range append(fields, "tlsverify", `"hosts"`, "END-OF-BERTH-FILE", "EC2 takes 16384") {
		if !strings.Contains(fmt.Sprint(err), want) {
			t.Errorf("it does not say %q: %v", want, err)
		}
	}
}

func TestUserDataHoldsNoKeyButTheServers(t *testing.T) {
	p := newPool(t)
	userData, trust := p.boot(t, launch, hostboot.Options{})
	if n := bytes.Count(userData, []byte("PRIVATE KEY-----\n")); n != 2 { // its begin and its end
		t.Errorf("%d lines of private keys", n)
	}
	if strings.Contains(trust, "PRIVATE") || strings.Contains(string(userData), trust) {
		t.Error("the authority of the launch is where it is not needed")
	}
	again, otherTrust := p.boot(t, launch, hostboot.Options{})
	if filesOf(again)["/etc/berth/tls/server-key.pem"] == filesOf(userData)["/etc/berth/tls/server-key.pem"] || trust == otherTrust {
		t.Error("two calls make one identity")
	}
	for path, f := range filesOf(userData) {
		if strings.HasPrefix(path, "/etc/berth/tls/") && f.mode != "0600" {
			t.Errorf("%s has mode %s", path, f.mode)
		}
	}
}

func TestScriptsParse(t *testing.T) {
	userData, _ := newPool(t).boot(t, launch, hostboot.Options{Extra: "echo 'more'\n"})
	scripts := map[string]string{"user data": string(userData)}
	for path, f := range filesOf(userData) {
		if strings.HasPrefix(f.text, "#!") {
			scripts[path] = f.text
		}
	}
	if len(scripts) != 6 {
		t.Errorf("%d scripts", len(scripts))
	}
	for name, script := range scripts {
		cmd := exec.Command("bash", "-n")
		cmd.Stdin = strings.NewReader(script)
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Errorf("%s: %v: %s", name, err, out)
		}
	}
}

func TestDaemonSettings(t *testing.T) {
	userData, _ := newPool(t).boot(t, launch, hostboot.Options{
		Daemon:     map[string]any{"registry-mirrors": []string{"https://mirror.example"}},
		AvoidCIDRs: []netip.Prefix{netip.MustParsePrefix("172.17.8.0/24")},
	})
	var got struct {
		Hosts     []string
		TLSVerify bool
		Labels    []string
		Mirrors   []string `json:"registry-mirrors"`
		Bridge    string   `json:"bip"`
		Pools     []struct {
			Base netip.Prefix
			Size int
		} `json:"default-address-pools"`
	}
	if err := json.Unmarshal([]byte(filesOf(userData)["/etc/berth/daemon.json"].text), &got); err != nil {
		t.Fatal(err)
	}
	if len(got.Hosts) != 2 || got.Hosts[1] != "tcp://0.0.0.0:2376" || !got.TLSVerify || got.Labels[0] != "berth.launch="+launch ||
		len(got.Mirrors) != 1 || len(got.Pools) != 2 || got.Pools[0].Base.String() != "172.18.0.0/16" ||
		got.Bridge != "172.18.0.1/20" {
		t.Errorf("%+v", got)
	}
	for _, name := range []string{"bip", "bridge", "default-address-pools"} { // a host that chooses some addresses chooses all
		userData, _ = newPool(t).boot(t, launch, hostboot.Options{Daemon: map[string]any{name: "mine"}})
		if text := filesOf(userData)["/etc/berth/daemon.json"].text; strings.Contains(text, "172.17.0.1") {
			t.Errorf("with %s: %s", name, text)
		}
	}
}

func TestAddressPoolsOverlapNothing(t *testing.T) {
	prefix := netip.MustParsePrefix
	for _, c := range []struct {
		avoid []netip.Prefix
		want  string
	}{
		{nil, "172.17.0.0/16 172.18.0.0/16"},
		{[]netip.Prefix{prefix("172.16.0.0/14")}, "172.20.0.0/16 172.21.0.0/16"},
		{[]netip.Prefix{prefix("172.16.0.0/12")}, "192.168.0.0/16 10.255.0.0/16"},
		{[]netip.Prefix{prefix("172.16.0.0/12"), prefix("192.168.7.0/24"), prefix("10.0.0.0/9")}, "10.255.0.0/16 10.254.0.0/16"},
		{[]netip.Prefix{prefix("172.16.0.0/12"), prefix("192.168.0.0/16"), prefix("10.128.0.0/9"), prefix("10.0.0.0/9")}, ""},
		{[]netip.Prefix{prefix("fd00::/8")}, "172.17.0.0/16 172.18.0.0/16"},
	} {
		var got []string
		for _, b := range hostboot.AddressPools(c.avoid...) {
			got = append(got, b.String())
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("avoiding %v: %v; want %s", c.avoid, got, c.want)
		}
	}
}

func TestDeadManCanBeOff(t *testing.T) {
	p := newPool(t)
	userData, _ := p.boot(t, launch, hostboot.Options{DeadMan: -1})
	for path := range filesOf(userData) {
		if strings.Contains(path, "dead-man") {
			t.Errorf("there is %s", path)
		}
	}
	userData, _ = p.boot(t, launch, hostboot.Options{DeadMan: 2 * time.Hour, BootDeadline: 90 * time.Second})
	if env := filesOf(userData)["/etc/berth/env"].text; !strings.Contains(env, "BERTH_DEAD_MAN=7200\n") {
		t.Error(env)
	}
	for limit, want := range map[time.Duration]string{2 * time.Hour: "300", time.Minute: "12", 2 * time.Second: "1"} {
		userData, _ := p.boot(t, launch, hostboot.Options{DeadMan: limit})
		timer := filesOf(userData)["/etc/systemd/system/berth-dead-man.timer"].text
		// Without AccuracySec, systemd fires up to a minute late.
		for _, line := range []string{"OnActiveSec=" + want, "OnUnitActiveSec=" + want, "AccuracySec=1s"} {
			if !strings.Contains(timer, line+"\n") {
				t.Errorf("with DeadMan %s, the timer has no %s: %s", limit, line, timer)
			}
		}
	}
	if unit := filesOf(userData)["/etc/systemd/system/berth-boot.service"].text; !strings.Contains(unit, "TimeoutStartSec=90\n") {
		t.Error(unit)
	}
}

func TestSessionDiskCanBeChosenOrOff(t *testing.T) {
	p := newPool(t)
	for name, c := range map[string]struct {
		o    hostboot.Options
		want string // of /etc/berth/env; "" = nothing is done
	}{
		"a file": {hostboot.Options{DiskGiB: 30}, "BERTH_VOLUMES=/var/lib/docker/volumes\nBERTH_DISK=\nBERTH_DISK_GIB=30\n"},
		"a disk, or else nothing": {
			hostboot.Options{Disk: "/dev/disk/by-id/nvme-Amazon_*", DiskGiB: -1},
			"BERTH_VOLUMES=/var/lib/docker/volumes\nBERTH_DISK=/dev/disk/by-id/nvme-Amazon_*\nBERTH_DISK_GIB=-1\n",
		},
		"another data root": {
			hostboot.Options{DiskGiB: 1, Daemon: map[string]any{"data-root": "/mnt/docker/"}},
			"BERTH_VOLUMES=/mnt/docker/volumes\nBERTH_DISK=\nBERTH_DISK_GIB=1\n",
		},
		"off":             {hostboot.Options{DiskGiB: -1}, ""},
		"user namespaces": {hostboot.Options{Daemon: map[string]any{"userns-remap": "default"}}, ""},
	} {
		userData, _ := p.boot(t, launch, c.o)
		files := filesOf(userData)
		_, program := files["/usr/local/sbin/berth-disk"]
		unit, has := files["/etc/systemd/system/berth-disk.service"]
		if on := c.want != ""; program != on || has != on || strings.Contains(files["/etc/berth/env"].text, "BERTH_DISK") != on {
			t.Errorf("%s: program %t, unit %t", name, program, has)
			continue
		}
		if text := files["/etc/berth/env"].text; !strings.HasSuffix(text, c.want) {
			t.Errorf("%s: %s", name, text)
		}
		volumes, _, _ := strings.Cut(strings.TrimPrefix(c.want, "BERTH_VOLUMES="), "\n")
		if has && !strings.Contains(unit.text, "\nRequiresMountsFor="+volumes+"\n") {
			t.Errorf("%s: %s", name, unit.text)
		}
	}
}
