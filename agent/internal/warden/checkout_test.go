package warden

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/internal/test/testenv"
)

const testTree = "/sessions/.trees/c1/files"

// newCheckoutBox is a container with the files of a commit.
func newCheckoutBox(t *testing.T) *cacheBox {
	t.Helper()
	c := newCacheBox(t)
	c.layer = filepath.Join(c.sessions, ".trees/c1/files")
	must(t, os.MkdirAll(filepath.Join(c.layer, "d/e"), 0o755), os.Chmod(filepath.Join(c.sessions, ".trees"), 0o700))
	for name, mode := range map[string]os.FileMode{"a": 0o644, "run": 0o755, "d/b": 0o644, "d/e/c": 0o644} {
		must(t, os.WriteFile(filepath.Join(c.layer, name), []byte(name), mode))
	}
	must(t, os.Symlink("d/e", filepath.Join(c.layer, "link")))
	for _, name := range []string{".", "a", "run", "d", "d/b", "d/e", "d/e/c", "link"} {
		must(t, os.Lchown(filepath.Join(c.layer, name), room.LayerUID, room.LayerUID))
	}
	return c
}

// checkout makes the directories of a session with a checkout as the agent does, and describes its room.
func (c *cacheBox) checkout(id string, uid int) room.Spec {
	c.t.Helper()
	at := filepath.Join(c.sessions, id)
	for dir, own := range map[string]int{"": uid, "work": 0, "work/lower": 0, "work/upper": uid} {
		must(c.t, os.MkdirAll(filepath.Join(at, dir), 0o700), os.Chown(filepath.Join(at, dir), own, own))
	}
	must(c.t, os.Chmod(filepath.Join(at, "work/upper"), 0o755))
	s := spec(id, uid)
	s.Checkout = &room.Overlay{Dir: s.Dir + "/work", Layer: testTree}
	return s
}

// listing is what a layer has, with all that a change would change.
func (c *cacheBox) listing() string {
	c.t.Helper()
	out, err := exec.Command("find", c.layer, "-printf", "%P %y %m %U %G %s %T@ %C@ %l\\n").CombinedOutput()
	must(c.t, err)
	return string(out)
}

// changes is what two sessions do to what the other reads. Each prints what is to happen.
var changes = []struct{ rule, script, want string }{
	{"the files are its own", "stat -c '%u %g %a' . a run d link", "UID UID 755\nUID UID 644\nUID UID 755\nUID UID 755\nUID UID 777"},
	{"it changes modes", "chmod 600 a && chmod -R go-rwx d && stat -c %a a d/b", "600\n600"},
	{"it appends", "echo more >> d/b && cat d/b", "d/bmore"},
	{"it renames a file", "mv a A && cat A && ls", "aA\nd\nlink\nrun"},
	{"it renames a directory by the system call", "/berth/bin/berth-agent rename d D && cat D/e/c link/c 2>/dev/null; ls D", "d/e/cb\ne"},
	{"it renames it once more", "/berth/bin/berth-agent rename D d && cat link/c", "d/e/c"},
	{"it removes a directory, and makes it anew", "rm -r d && mkdir d && ls d && touch d/new && ls d", "new"},
	{"it writes by a descriptor that reads", "exec 5< run; echo worse > /proc/self/fd/5; cat run", "worse"},
	{"it removes everything", "rm -rf * && ls -A", ""},
	{"the tree is out of reach", "ls /sessions/.trees 2>&1 | grep -c 'No such file'", "1"},
	{"so are the directories below the mount", "ls -d upper lower work0 2>&1 | grep -c 'No such file'", "3"},
	{"the mount stays where it is", "cd ..; mv work away 2>/dev/null; rmdir work 2>/dev/null; ls -d work", "work"},
	{"it sets no attribute of the overlay", "mkdir x; setfattr -n trusted.overlay.redirect -v /d x 2>&1 | grep -c -i -e denied -e 'not permitted' -e 'not found'; rmdir x", "1"},
	{"it cannot be mounted otherwise", "umount . 2>/dev/null || echo no; mount -o remount,rw . 2>/dev/null || echo no", "no\nno"},
}

// TestTwoSessionsOnOneTree: what a session does to a checkout is seen by nobody else, and changes nothing of the tree, also in a room
// that was opened ahead, and after the room has ended and the session has got another.
func TestTwoSessionsOnOneTree(t *testing.T) {
	c := newCheckoutBox(t)
	before := c.listing()
	c.box.open(spareSpec("spare"))
	taken := c.checkout("a", 10001)
	taken.ID = "spare"
	var took time.Duration
	must(t, c.rpc.Call("Agent.Take", taken, &took))
	c.box.open(c.checkout("b", 10002))
	c.box.open(c.checkout("reader", 10003))
	const all = "cd /sessions/reader/work && cat a run d/b d/e/c link/c && ls -R . | md5sum"
	read := c.run("reader", 10003, all)
	for id, uid := range map[string]int{"spare": 10001, "b": 10002} {
		for _, p := range changes {
			dir := map[string]string{"spare": "/sessions/a/work", "b": "/sessions/b/work"}[id]
			want := strings.ReplaceAll(p.want, "UID", fmt.Sprint(uid))
			if d := c.run(id, uid, "cd "+dir+" && "+p.script); d.Output != want {
				t.Errorf("%s: %s: got %+v, want %q", id, p.rule, d, want)
			}
		}
		if d := c.run("reader", 10003, all); d != read || d.Code != 0 {
			t.Errorf("after %s, another session reads %+v; before %+v", id, d, read)
		}
		if after := c.listing(); after != before {
			t.Errorf("after %s, the tree is\n%s\nand was\n%s", id, after, before)
		}
	}
	var killed time.Duration
	must(t, c.rpc.Call("Agent.Kill", "b", &killed), c.rpc.Call("Agent.Close", "b", &killed))
	again := spec("b", 10002)
	again.Checkout = &room.Overlay{Dir: again.Dir + "/work", Layer: testTree}
	c.box.open(again)
	if d := c.run("b", 10002, "cd /sessions/b/work && ls -A && echo kept > a && cat a"); d.Output != "kept" {
		t.Errorf("in another room the session finds %+v", d)
	}
	if after := c.listing(); after != before {
		t.Errorf("in another room, the tree is\n%s\nand was\n%s", after, before)
	}
}

// TestACheckoutThatCannotBeMountedIsAnError, which is ErrNoCheckout to the agent, and leaves no room.
func TestACheckoutThatCannotBeMountedIsAnError(t *testing.T) {
	c := newCheckoutBox(t)
	missing, foreign := c.checkout("a", 10001), c.checkout("b", 10002)
	missing.Checkout.Layer = "/sessions/.trees/c2/files"
	must(t, os.Chown(filepath.Join(c.sessions, "b/work"), 10002, 10002))
	for _, s := range []room.Spec{missing, foreign} {
		var none bool
		must(t, c.rpc.Call("Agent.NoCheckout", s, &none))
		if !none {
			t.Errorf("%+v: it is no room.ErrNoCheckout", s.Checkout)
		}
	}
	if left := c.groups(roomPrefix + "*"); len(left) > 0 {
		t.Errorf("cgroups are left: %v", left)
	}
	for _, bad := range []room.Overlay{{Dir: "/sessions/c/work", Layer: "/etc"}, {Dir: "/sessions/b", Layer: testTree}, {Dir: "/sessions/c", Layer: testTree},
		{Dir: "/sessions/c/work", Layer: "/sessions/c/x"}, {Dir: "/sessions/c/../b/x", Layer: testTree}, {Dir: "/sessions/c/work", Layer: "/sessions/.trees/../x"}} {
		s := spec("c", 10003)
		s.Checkout = &bad
		var o Opened
		if err := c.rpc.Call("Agent.Open", s, &o); err == nil || !strings.Contains(err.Error(), "bad checkout") {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}

// TestACheckoutIsTried: a trial leaves nothing, and says why it fails.
func TestACheckoutIsTried(t *testing.T) {
	c := newCheckoutBox(t)
	try := func(dir string) (why string) {
		must(t, c.rpc.Call("Agent.Try", dir, &why))
		return why
	}
	mounts, err := os.ReadFile(procPath(c.pid, "mountinfo"))
	must(t, err)
	if why := try("/sessions"); why != "" {
		t.Errorf("in /sessions: %s", why)
	}
	for dir, want := range map[string]string{"/proc": "", "/nowhere": "no such file", "sessions": "bad directory", "/": "bad directory"} {
		if why := try(dir); why == "" || !strings.Contains(why, want) {
			t.Errorf("in %s: %q", dir, why)
		}
	}
	after, err := os.ReadFile(procPath(c.pid, "mountinfo"))
	if err != nil || string(after) != string(mounts) {
		t.Errorf("the container's mounts have changed: %v\n%s", err, after)
	}
	if left, err := filepath.Glob(c.sessions + "/.trial*"); err != nil || len(left) > 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// TestRemovedFilesInACheckoutAreCounted, which are on another device than the directory that they are on.
func TestRemovedFilesInACheckoutAreCounted(t *testing.T) {
	c := newCheckoutBox(t)
	c.box.open(c.checkout("a", 10001))
	const size = 4 << 20
	c.background("a", 10001, "cd /sessions/a/work && exec 3>gone && head -c 4194304 /dev/zero >&3 && rm gone && touch ready && exec sleep 1000")
	for deadline := time.Now().Add(time.Minute); c.run("a", 10001, "ls /sessions/a/work/ready").Code != 0; {
		if time.Now().After(deadline) {
			t.Fatal("the session is not ready")
		}
	}
	var bytes int64
	must(t, c.rpc.Call("Agent.Unlinked", "a", &bytes))
	if bytes < size || bytes > 2*size {
		t.Errorf("%d bytes are counted", bytes)
	}
}

// TestUserNamespacesAtOnce makes many beside each other, as sessions that come at once do.
func TestUserNamespacesAtOnce(t *testing.T) {
	if os.Getuid() != 0 {
		testenv.Missing(t, "needs root, to map users")
	}
	var all sync.WaitGroup
	for n := range 30 {
		all.Go(func() {
			fd, err := userNamespace(room.LayerUID, 10001+n)
			if err != nil {
				t.Error(err)
				return
			}
			syscall.Close(fd)
		})
	}
	all.Wait()
}
