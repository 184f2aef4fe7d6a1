package warden

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-go/berth/agent/internal/room"
)

// TestACheckoutOverTwoLayers: where both layers have a file, that of the commit is seen, and directories are merged. What a session does
// changes neither.
func TestACheckoutOverTwoLayers(t *testing.T) {
	c := newCheckoutBox(t)
	below := filepath.Join(c.mirror, ".prepared/p1/checkout")
	must(t, os.MkdirAll(filepath.Join(below, "d/dep"), 0o755), os.MkdirAll(filepath.Join(below, "a"), 0o755), os.Chmod(filepath.Join(c.mirror, ".prepared"), 0o700))
	for _, name := range []string{"run", "new", "d/dep/lib", "a/inside"} {
		must(t, os.WriteFile(filepath.Join(below, name), []byte("below "+name), 0o644))
	}
	must(t, os.Symlink("/etc", filepath.Join(below, "d/e")), filepath.WalkDir(below, func(path string, _ os.DirEntry, _ error) error {
		return os.Lchown(path, room.LayerUID, room.LayerUID)
	}))
	over := func(id string, uid int) room.Spec {
		s := c.checkout(id, uid)
		must(t, os.Mkdir(filepath.Join(c.sessions, id, "work/below"), 0o700))
		s.Checkout.Below = s.MirrorDir + "/.prepared/p1/checkout"
		return s
	}
	c.box.open(over("a", 10001))
	c.box.open(over("b", 10002))
	look := func(id, uid string) {
		t.Helper()
		script := "cd /sessions/" + id + "/work && cat a run d/e/c new d/dep/lib && stat -c ' %u' new d/dep run && ls d"
		n := 10001
		if id == "b" {
			n = 10002
		}
		if d := c.run(id, n, script); d.Output != "arund/e/cbelow newbelow d/dep/lib "+uid+"\n "+uid+"\n "+uid+"\nb\ndep\ne" {
			t.Errorf("%s finds %+v", id, d)
		}
	}
	look("a", "10001")
	if d := c.run("a", 10001, "cd /sessions/a/work && echo evil > new && rm -r d/dep && /berth/bin/berth-agent rename d D && rm run && ls && ls D"); d.Output != "D\na\nlink\nnew\nb\ne" {
		t.Errorf("a changes %+v", d)
	}
	look("b", "10002")
}
