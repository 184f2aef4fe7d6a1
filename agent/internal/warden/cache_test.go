package warden

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/internal/test/testenv"
)

const testCache = "home/go/pkg/mod" // of a session

// cacheBox is a container whose sessions and mirror are on disk, as berth's are.
type cacheBox struct {
	*box
	sessions, layer string // on this machine
	mirror          string // on the host
}

func newCacheBox(t *testing.T) *cacheBox {
	t.Helper()
	c := &cacheBox{sessions: t.TempDir()}
	mirror := t.TempDir()
	c.mirror = mirror
	c.box = newGround(t).box(t, func(o *client.ContainerCreateOptions) {
		o.HostConfig.Binds = append(o.HostConfig.Binds, c.sessions+":/sessions", mirror+":/berth/mirror")
		delete(o.HostConfig.Tmpfs, "/sessions")
		delete(o.HostConfig.Tmpfs, "/berth/mirror")
	})
	c.layer = filepath.Join(mirror, "layers/go/1")
	must(t, os.Chmod(c.sessions, 0o711), os.Chmod(mirror, 0o755), os.MkdirAll(filepath.Join(c.layer, "m@v1"), 0o700),
		os.WriteFile(filepath.Join(c.layer, "m@v1/m.go"), []byte("package m"), 0o444),
		os.Chmod(filepath.Join(c.layer, "m@v1"), 0o555), os.Chmod(c.layer, 0o755))
	must(t, filepath.WalkDir(c.layer, func(path string, _ fs.DirEntry, err error) error {
		return errors.Join(err, os.Lchown(path, room.LayerUID, room.LayerUID))
	}))
	return c
}

func must(t testing.TB, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// spec makes the directories of a session as the agent does, and describes its room.
func (c *cacheBox) spec(id string, uid int) room.Spec {
	c.t.Helper()
	at := filepath.Join(c.sessions, id)
	for _, dir := range []string{"", "home", "home/go", "home/go/pkg", testCache, testCache + "/upper"} {
		must(c.t, os.Mkdir(filepath.Join(at, dir), 0o700), os.Chown(filepath.Join(at, dir), uid, uid))
	}
	must(c.t, os.Mkdir(filepath.Join(at, testCache, "lower"), 0o700), os.Chown(filepath.Join(at, testCache), 0, 0))
	s := spec(id, uid)
	s.Caches = []room.Overlay{{Dir: s.Dir + "/" + testCache, Layer: "/berth/mirror/layers/go/1"}}
	return s
}

// untouched checks that a layer is as it was.
func (c *cacheBox) untouched() {
	c.t.Helper()
	var names []string
	must(c.t, filepath.WalkDir(c.layer, func(path string, d fs.DirEntry, err error) error {
		info, infoErr := d.Info()
		if infoErr == nil && info.Sys().(*syscall.Stat_t).Uid != room.LayerUID {
			c.t.Errorf("%s has another owner", path)
		}
		names = append(names, strings.TrimPrefix(path, c.layer))
		return errors.Join(err, infoErr)
	}))
	text, err := os.ReadFile(filepath.Join(c.layer, "m@v1/m.go"))
	if got := strings.Join(names, " "); got != " /m@v1 /m@v1/m.go" || string(text) != "package m" || err != nil {
		c.t.Errorf("the layer has %q, and %q: %v", got, text, err)
	}
}

// poison is what a session tries at a cache. Each prints what is to happen.
var poison = []struct{ rule, script, want string }{
	{"the layer's files are its own", "stat -c '%u %a' m@v1 m@v1/m.go", "UID 555\nUID 444"},
	{"it changes a file", "chmod u+w m@v1 m@v1/m.go && echo evil > m@v1/m.go && cat m@v1/m.go", "evil"},
	{"it adds and renames", "echo evil > m@v1/more.go && mkdir n && mv m@v1/more.go n/ && ls n", "more.go"},
	{"it writes by a descriptor that reads", "exec 5< m@v1/m.go; echo worse > /proc/self/fd/5; cat m@v1/m.go", "worse"},
	{"it removes", "chmod -R u+w . && rm -r m@v1 && ls", "n"},
	{"the layer is out of reach", "ls /berth/mirror/layers 2>&1 | grep -c 'Permission denied'", "1"},
	{"so are the directories below the mount", "ls -d upper lower work* 2>&1 | grep -c 'No such file'", "3"},
	{"the mount stays where it is", "cd ..; mv mod away 2>/dev/null; rmdir mod 2>/dev/null; ls", "mod"},
	{"it cannot be mounted otherwise", "umount . 2>/dev/null || echo no; mount -o remount,rw . 2>/dev/null || echo no; unshare -Ur true 2>/dev/null || echo no", "no\nno\nno"},
	{"the neighbour's is not there", "ls /sessions/b 2>&1 | grep -c 'No such file'", "1"},
}

// TestASessionPlantsNothingInASharedCache: what a session does to a cache is seen by nobody else, also not in a room that was
// opened ahead, and also after its room has ended and it has got another.
func TestASessionPlantsNothingInASharedCache(t *testing.T) {
	c := newCacheBox(t)
	c.box.open(spareSpec("spare"))
	taken := c.spec("a", 10001)
	taken.ID = "spare"
	var took time.Duration
	must(t, c.rpc.Call("Agent.Take", taken, &took))
	c.box.open(c.spec("b", 10002))
	for id, uid := range map[string]int{"spare": 10001, "b": 10002} {
		other := 20003 - uid
		for _, p := range poison {
			if id == "b" && strings.Contains(p.script, "/sessions/b") {
				continue
			}
			dir := map[string]string{"spare": "/sessions/a/", "b": "/sessions/b/"}[id] + testCache
			want := strings.ReplaceAll(p.want, "UID", strconv.Itoa(uid))
			if d := c.run(id, uid, "cd "+dir+" && "+p.script); d.Output != want {
				t.Errorf("%s: %s: got %+v, want %q", id, p.rule, d, want)
			}
		}
		if d := c.run(id, other, "ls /sessions/*/home 2>&1 | grep -c 'Permission denied'"); d.Output == "" {
			t.Errorf("another uid: %+v", d)
		}
		c.untouched()
	}
	if d := c.run("b", 0, "touch /berth/mirror/layers/go/1/x 2>&1 | grep -c Read-only; mount -t tmpfs x /mnt 2>/dev/null || echo no"); d.Output != "1\nno" {
		t.Errorf("root in a room: %+v", d)
	}

	var killed time.Duration
	must(t, c.rpc.Call("Agent.Kill", "spare", &killed), c.rpc.Call("Agent.Close", "spare", &killed))
	again := spec("a", 10001)
	again.Caches = taken.Caches
	c.box.open(again)
	if d := c.run("a", 10001, "ls /sessions/a/"+testCache); d.Output != "n" {
		t.Errorf("in another room the session finds %+v", d)
	}
	c.untouched()
	if log := c.log(c.warden); strings.Contains(log, "cache of its own") {
		t.Errorf("the warden has shared no cache: %s", log)
	}
}

// TestUserNamespaces makes them on fresh stacks, which grow meanwhile, and leaves no process.
func TestUserNamespaces(t *testing.T) {
	if os.Getuid() != 0 {
		testenv.Missing(t, "needs root, to map users")
	}
	for range 10 {
		done := make(chan error)
		go func() {
			fd, err := userNamespace(room.LayerUID, 10001)
			if err == nil {
				err = os.NewSyscallError("close", syscall.Close(fd))
			}
			done <- err
		}()
		must(t, <-done)
	}
	if pid, err := syscall.Wait4(-1, nil, syscall.WNOHANG, nil); err != syscall.ECHILD {
		t.Errorf("process %d is left: %v", pid, err)
	}
}

// TestACacheThatCannotBeShared: the session then has an empty directory of its own. If it has put something else in its place, it keeps
// that.
func TestACacheThatCannotBeShared(t *testing.T) {
	c := newCacheBox(t)
	s := c.spec("a", 10001)
	s.Caches[0].Layer = "/berth/mirror/layers/go/2"
	c.box.open(s)
	if d := c.run("a", 10001, "cd /sessions/a/"+testCache+" && ls -A && touch f && ls"); d.Output != "f" {
		t.Errorf("%+v", d)
	}
	if log := c.log(c.warden); !strings.Contains(log, "layers/go/2: openat2: no such file") {
		t.Errorf("the warden does not say why: %s", log)
	}
	b := c.spec("b", 10002)
	must(t, os.Rename(filepath.Join(c.sessions, "b/home/go"), filepath.Join(c.sessions, "b/old")), os.Symlink("/berth/mirror/layers", filepath.Join(c.sessions, "b/home/go")))
	c.box.open(b)
	if d := c.run("b", 10002, "readlink /sessions/b/home/go; grep -c overlay.*sessions /proc/mounts"); d.Output != "/berth/mirror/layers\n0" {
		t.Errorf("%+v", d)
	}
	for _, bad := range []room.Overlay{{Dir: "/sessions/a/x", Layer: "/etc"}, {Dir: "/sessions/b", Layer: "/berth/mirror/layers/go/1"},
		{Dir: "/sessions/c/../b/x", Layer: "/berth/mirror/layers/go/1"}, {Dir: "/sessions/c/x", Layer: "/berth/mirror/../x"}} {
		s := spec("c", 10003)
		s.Caches = []room.Overlay{bad}
		var o Opened
		if err := c.rpc.Call("Agent.Open", s, &o); err == nil || !strings.Contains(err.Error(), "bad cache") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
