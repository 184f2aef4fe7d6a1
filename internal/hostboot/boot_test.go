package hostboot_test

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/hostboot"
)

func TestUserDataFits(t *testing.T) {
	p := newPool(t)
	plain, _ := p.boot(t, strings.Repeat("l", 63), hostboot.Options{})
	t.Logf("%d of %d bytes", len(plain), hostboot.MaxUserData)
	room := hostboot.MaxUserData - len(plain)
	if room < 3000 {
		t.Errorf("only %d bytes are left for Extra and Daemon", room)
	}
	o := hostboot.Options{LaunchID: launch, Pool: "acme", ClientCA: p.ca, Extra: strings.Repeat("# no room\n", room/10+100)}
	_, _, err := hostboot.Boot(o)
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
	if len(scripts) != 5 {
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
	for _, name := range []string{"bip", "bridge", "default-address-pools"} { // whoever chooses addresses chooses all
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
		bases, err := hostboot.AddressPools(c.avoid...)
		var got []string
		for _, b := range bases {
			got = append(got, b.String())
		}
		if strings.Join(got, " ") != c.want || (err == nil) != (c.want != "") {
			t.Errorf("avoiding %v: %v, %v; want %s", c.avoid, got, err, c.want)
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
	if unit := filesOf(userData)["/etc/systemd/system/berth-boot.service"].text; !strings.Contains(unit, "TimeoutStartSec=90\n") {
		t.Error(unit)
	}
}
