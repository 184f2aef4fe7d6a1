package warden

import (
	"encoding/json"
	"net"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent/internal/room"
)

// TestPeers holds that the warden serves the agents of containers only, and each in its own container.
func TestPeers(t *testing.T) {
	g := newGround(t)
	b := g.box(t)
	t.Run("another process of the container", func(t *testing.T) {
		if d := b.run("", 0, "exec /berth/bin/berth-agent ask"); d.Code != 1 {
			t.Errorf("%+v", d)
		}
		if d := b.run("", 10001, "exec /berth/bin/berth-agent ask"); d.Code != 1 || !strings.Contains(d.Output, "permission denied") {
			t.Errorf("as another user: %+v", d)
		}
	})
	t.Run("a connection that the agent made", func(t *testing.T) {
		var out string
		if err := b.rpc.Call("Agent.Lend", 0, &out); err == nil {
			t.Errorf("is used by another process: %s", out)
		}
	})
	t.Run("a process of the machine", func(t *testing.T) {
		conn, err := net.DialUnix("unixpacket", nil, &net.UnixAddr{Name: g.dir + "/warden/warden.sock", Net: "unixpacket"})
		if err != nil {
			t.Fatal(err)
		}
		defer conn.Close()
		if _, _, _, err := exchange(t.Context(), conn, request{Op: opIsolation}); err == nil {
			t.Error("is served")
		}
	})
	t.Run("another program", func(t *testing.T) {
		other := g.box(t, func(o *client.ContainerCreateOptions) {
			o.HostConfig.Binds = append(o.HostConfig.Binds, g.dir+"/bin:/opt:ro")
			o.Config.Entrypoint[0] = "/opt/berth-agent"
		})
		if i, err := other.isolation(); err == nil {
			t.Errorf("is served: %+v", i)
		}
	})
	t.Run("another container's room", func(t *testing.T) {
		other := g.box(t)
		b.open(spec("mine", 10001))
		var took time.Duration
		if err := other.rpc.Call("Agent.Close", "mine", &took); err != nil {
			t.Error(err)
		}
		if d := b.run("mine", 10001, "echo alive"); d.Output != "alive" {
			t.Errorf("was ended: %+v", d)
		}
		b.close("mine")
	})
	t.Run("too many connections", func(t *testing.T) {
		var n int
		if err := b.rpc.Call("Agent.Connect", 2*perPeer, &n); err != nil || n == 0 || n > perPeer {
			t.Errorf("%d are served: %v", n, err)
		}
	})
	if i, err := b.isolation(); err != nil || !i.Rooms {
		t.Errorf("afterwards: %+v %v", i, err)
	}
}

// TestBadRequests holds that a request that makes no sense is refused, and does nothing.
func TestBadRequests(t *testing.T) {
	b := newGround(t).box(t)
	good := spec("a", 10001)
	with := func(change func(*room.Spec)) string {
		s := good
		change(&s)
		text, _ := json.Marshal(request{Op: opOpen, Room: &s})
		return string(text)
	}
	for name, text := range map[string]string{
		"no ID":             with(func(s *room.Spec) { s.ID = "" }),
		"a path as the ID":  with(func(s *room.Spec) { s.ID = "../x" }),
		"a long ID":         with(func(s *room.Spec) { s.ID = strings.Repeat("a", 129) }),
		"no directory":      with(func(s *room.Spec) { s.Dir = "" }),
		"another directory": with(func(s *room.Spec) { s.Dir = "/etc" }),
		"all sessions":      with(func(s *room.Spec) { s.Dir = "/sessions" }),
		"a link":            with(func(s *room.Spec) { s.Dir = "/sessions/link" }),
		"a deep directory":  with(func(s *room.Spec) { s.Dir = "/sessions/d/e" }),
		"a missing one":     with(func(s *room.Spec) { s.Dir = "/sessions/missing" }),
		"a linked top":      with(func(s *room.Spec) { s.SessionsDir, s.Dir = "/sessions/link", "/sessions/link/network" }),
		"a relative top":    with(func(s *room.Spec) { s.SessionsDir, s.Dir = "sessions", "sessions/d" }),
		"the root as run":   with(func(s *room.Spec) { s.RunDir = "/" }),
		"a negative limit":  with(func(s *room.Spec) { s.Limits.PIDs = -1 }),
		"a huge weight":     with(func(s *room.Spec) { s.Limits.CPUWeight = 1 << 30 }),
		"root":              with(func(s *room.Spec) { s.UID = 0 }),
		"no room":           `{"op":"open"}`,
		"a bad close":       `{"op":"close","id":"../../x"}`,
		"no operation":      `{}`,
		"another operation": `{"op":"mount"}`,
		"no JSON":           `hello`,
		"a long one":        `{"op":"sync","ids":["` + strings.Repeat("a", maxMessage) + `"]}`,
	} {
		b.run("", 0, "mkdir -p /sessions/a /sessions/d/e; ln -sfn /etc /sessions/link")
		var answered string
		if err := b.rpc.Call("Agent.Send", text, &answered); err == nil && answered == "" {
			t.Errorf("%s is accepted", name)
		} else {
			t.Logf("%s: %v %s", name, err, answered)
		}
	}
	if left := b.groups(roomPrefix + "*"); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	b.open(good)
	b.close("a")
}

// TestOddImages holds that links and missing directories of an image lead no mount elsewhere.
func TestOddImages(t *testing.T) {
	g := newGround(t)
	bare := func(o *client.ContainerCreateOptions) { delete(o.HostConfig.Tmpfs, "/tmp") }
	for _, c := range []struct{ name, layout, script, want string }{
		{"/var/tmp is /tmp", "rm -rf /var/tmp; ln -s ../tmp /var/tmp", "touch /var/tmp/x; ls /tmp", "x"},
		{"/tmp is /var/tmp", "rm -rf /tmp; ln -s /var/tmp /tmp", "touch /tmp/x; ls /var/tmp", "x"},
		{"no /var/tmp", "rm -rf /var/tmp", "touch /tmp/x; ls -d /tmp/x /var/tmp 2>/dev/null", "/tmp/x"},
		{"no /tmp", "rm -rf /tmp", "ls -d /tmp 2>&1 | grep -c 'No such'", "1"},
		{"/tmp leads to /etc", "rm -rf /tmp; ln -s etc /tmp", "", "leads to /etc"},
		{"/tmp leads to the root", "rm -rf /tmp; ln -s . /tmp", "", "leads to /"},
		{"/tmp leads through proc", "rm -rf /tmp; ln -s /proc/1/root/usr /tmp", "", "/tmp"},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := g.box(t, bare)
			if d := b.run("", 0, c.layout); d.Code != 0 {
				t.Fatalf("%+v", d)
			}
			err := b.rpc.Call("Agent.Open", spec("a", 10001), &Opened{})
			if c.script == "" {
				if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			if d := b.run("a", 10001, c.script); d.Output != c.want {
				t.Errorf("got %q, want %q", d.Output, c.want)
			}
			b.close("a")
		})
	}
}

// TestNoRooms holds that a container whose walls cannot be kept gets a reason in place of rooms.
func TestNoRooms(t *testing.T) {
	g := newGround(t)
	for _, c := range []struct {
		name, reason string
		change       func(*client.ContainerCreateOptions)
	}{
		{"without no-new-privileges", "no-new-privileges", func(o *client.ContainerCreateOptions) { o.HostConfig.SecurityOpt = nil }},
		{"with a capability that the warden lacks", "", func(o *client.ContainerCreateOptions) {
			o.HostConfig.CapAdd = append(o.HostConfig.CapAdd, "NET_BIND_SERVICE")
		}},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := g.box(t, c.change)
			i, err := b.isolation()
			if err != nil || i.Rooms || !strings.Contains(i.Reason, c.reason) || i.Reason == "" {
				t.Errorf("%+v %v", i, err)
			}
			if err := b.rpc.Call("Agent.Open", spec("a", 10001), &Opened{}); err == nil {
				t.Error("a room is open")
			}
			if left := b.groups(roomPrefix + "*"); len(left) > 0 {
				t.Errorf("cgroups are left: %v", left)
			}
		})
	}
}

// TestWeakWarden holds that a warden that an engine gives too little says so, and opens no room.
func TestWeakWarden(t *testing.T) {
	without := func(name string) func(*client.ContainerCreateOptions) {
		return func(o *client.ContainerCreateOptions) {
			o.HostConfig.CapAdd = slices.DeleteFunc(o.HostConfig.CapAdd, func(c string) bool { return c == name })
		}
	}
	for _, c := range []struct {
		name   string
		change func(*client.ContainerCreateOptions)
	}{
		{"no SYS_ADMIN", without("SYS_ADMIN")},
		{"no SYS_CHROOT", without("SYS_CHROOT")},
		{"no SETPCAP", without("SETPCAP")},
		{"a filter", func(o *client.ContainerCreateOptions) { o.HostConfig.SecurityOpt = nil }},
		{"a read-only cgroup", func(o *client.ContainerCreateOptions) {
			if version2() {
				o.HostConfig.Binds[2] += ":ro"
			} else {
				o.HostConfig.Binds = append(o.HostConfig.Binds, "/sys/fs/cgroup/memory:/sys/fs/cgroup/memory:ro")
			}
		}},
		{"no cgroups", func(o *client.ContainerCreateOptions) { o.HostConfig.Binds = o.HostConfig.Binds[:2] }},
	} {
		t.Run(c.name, func(t *testing.T) {
			b := newGround(t, c.change).box(t)
			i, err := b.isolation()
			if err == nil && (i.Rooms || i.Reason == "") {
				t.Errorf("%+v", i)
			}
			t.Logf("%q %v", i.Reason, err)
			if err := b.rpc.Call("Agent.Open", spec("a", 10001), &Opened{}); err == nil {
				t.Error("a room is open")
			}
			if left := b.groups(roomPrefix + "*"); len(left) > 0 {
				t.Errorf("cgroups are left: %v", left)
			}
		})
	}
}
