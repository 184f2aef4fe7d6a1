package hostboot_test

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/internal/test/hostboottest"
)

const volumes = "/var/lib/docker/volumes"

// kernelBounds reports whether the kernel has project quotas on a file system of mkfs, an argument list without the file. It
// asks in another way than the program of the machines does.
func kernelBounds(t *testing.T, mkfs ...string) bool {
	t.Helper()
	image, dir := filepath.Join(t.TempDir(), "image"), t.TempDir()
	for _, args := range [][]string{
		{"truncate", "-s", "320M", image}, append(mkfs, image), {"mount", "-o", "loop,prjquota", image, dir},
	} {
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Logf("%q: %v: %s", args, err, bytes.TrimSpace(out))
			return false
		}
	}
	if out, err := exec.Command("umount", dir).CombinedOutput(); err != nil {
		t.Errorf("umount: %v: %s", err, out)
	}
	return true
}

// bounds is what the kernel of this computer and its programs can do.
type bounds struct{ xfs, ext4 bool }

func findBounds(t *testing.T) bounds {
	if err := hostboottest.Ready(); err != nil {
		return bounds{} // Boot says so
	}
	return bounds{
		xfs:  kernelBounds(t, "mkfs.xfs", "-q"),
		ext4: kernelBounds(t, "mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota"),
	}
}

// result is what a machine must say that prefers a type of file system, and has a place for it.
func (b bounds) result(prefers, on string) string {
	switch {
	case b.xfs && prefers == "xfs":
		return "xfs on " + on
	case b.ext4:
		return "ext4 on " + on
	}
	return noFileSystem
}

// or returns what a machine must say if its kernel can have quotas, or else that it cannot.
func (b bounds) or(result string) string {
	if b == (bounds{}) {
		return noFileSystem
	}
	return result
}

const (
	noFileSystem = "none, because no file system here has them"
	onFile       = "/var/lib/berth/volumes.img"
)

// TestVolumesGetQuotas boots machines with several disks. On a kernel without project quotas, it checks that a machine works
// without them.
func TestVolumesGetQuotas(t *testing.T) {
	can := findBounds(t)
	for name, c := range map[string]struct {
		o      hostboot.Options
		hidden string // a program that the machine lacks
		before string // a line of the user data
		want   string // what the machine says
	}{
		"a file":             {want: can.result("xfs", onFile)},
		"no programs of XFS": {hidden: "mkfs.xfs", want: can.result("ext4", onFile)},
		"volumes that are there": {
			before: "mkdir -p " + volumes + "/mine && touch " + volumes + "/mine/kept", want: "none, because " + volumes + "/mine/ is there",
		},
		"too little room": {o: hostboot.Options{DiskGiB: 1 << 20}, want: can.or("none, because N GiB are free")},
		"no such disk": {
			o: hostboot.Options{Disk: "/dev/no-such-*", DiskGiB: -1}, want: can.or("none, because no unused disk matches /dev/no-such-*"),
		},
	} {
		t.Run(name, func(t *testing.T) {
			if c.hidden != "" {
				if _, err := exec.LookPath(c.hidden); err != nil {
					c.hidden = "" // it is missing anyway
				}
			}
			m := bootWithDisk(t, c.o, c.before, c.hidden)
			if got := regexp.MustCompile(`\d+ GiB`).ReplaceAllString(said(m), "N GiB"); got != c.want {
				t.Fatalf("it says %q; want %q", got, c.want)
			}
			checkVolumes(t, m, c.want)
		})
	}
}

// bootWithDisk boots a machine whose engine is only written down.
func bootWithDisk(t *testing.T, o hostboot.Options, before, hidden string) *hostboottest.Machine {
	t.Helper()
	userData, _ := newPool(t).boot(t, launch, o)
	options := hostboottest.Options{UserData: append([]byte(before+"\n"), userData...)}
	if hidden != "" {
		options.Hidden = []string{hidden}
	}
	m := hostboottest.Boot(t, options)
	if last := m.Calls()[len(m.Calls())-1]; !m.Booted() || last != "docker starts with daemon.json there" {
		t.Fatalf("the last call is %q", last)
	}
	return m
}

// said returns what a machine says of its volumes.
func said(m *hostboottest.Machine) string {
	_, text, _ := strings.Cut(m.Console(), "berth: quotas of sessions: ")
	text, rest, _ := strings.Cut(text, "\n")
	if strings.Contains(rest, "berth: quotas of sessions: ") {
		return m.Console()
	}
	return text
}

// checkVolumes checks the file system of a machine's volumes, and that it outlives a reboot.
func checkVolumes(t *testing.T, m *hostboottest.Machine, want string) {
	must := func(script string) string {
		t.Helper()
		out, err := m.Run(t.Context(), script)
		if err != nil {
			t.Fatalf("%s: %v: %s", script, err, out)
		}
		return strings.TrimSpace(out)
	}
	if left := must("ls -A /run/berth/trial; ls /var/lib/berth/try 2>&1 | grep -v 'No such' || true"); left != "" {
		t.Errorf("the trial left %s", left)
	}
	if strings.HasPrefix(want, "none") {
		if left := must("ls -A /var/lib/berth; ! mountpoint " + volumes); left != volumes+" is not a mountpoint" {
			t.Errorf("without quotas, the machine has: %s", left)
		}
		return
	}
	if got := must("stat -c %a " + volumes); got != "701" {
		t.Errorf("the mode of the volumes' directory is %s", got)
	}
	must("! mountpoint -q " + volumes + "/lost+found && [ ! -e " + volumes + "/lost+found ]")
	device := must("findmnt -n -o SOURCE " + volumes)
	if strings.HasSuffix(want, onFile) {
		if allocated := must("echo $(($(stat -c '%b * %B' " + onFile + ") >> 30))"); allocated != "1" {
			t.Errorf("of the file, %s GiB are allocated", allocated)
		}
		must(`[ "$(cat /sys/block/` + filepath.Base(device) + `/queue/discard_max_bytes)" = 0 ]`)
	}
	must("echo kept >" + volumes + "/file; umount " + volumes + "; [ ! -e " + volumes + "/file ]")
	if strings.HasSuffix(want, onFile) {
		must("[ -z \"$(losetup -j " + onFile + ")\" ]") // the loop device ends with the mount
	}
	before := len(m.Calls())
	must("systemctl start berth-disk.service && systemctl start berth-disk.service")
	if got := must("cat " + volumes + "/file; findmnt -n -o OPTIONS " + volumes); !strings.HasPrefix(got, "kept\n") || !strings.Contains(got, "prjquota") {
		t.Errorf("after a reboot: %s: %v", got, m.Calls()[before:])
	}
	if strings.HasPrefix(want, "xfs") {
		must("cd " + volumes + " && mkdir a b && chattr -p 5 a && chattr +P a && xfs_quota -x -c 'limit -p bhard=8m 5' . && ! head -c 9M /dev/zero >a/f && head -c 9M /dev/zero >b/f")
	}
	// Docker must never write to the directory below.
	must("umount " + volumes + " && echo /none >/var/lib/berth/made && ! systemctl start berth-disk.service")
}

// TestVolumesOnADisk has machines with disks beside that of the system.
func TestVolumesOnADisk(t *testing.T) {
	can := findBounds(t)
	used, free := disk(t, "mkfs.ext4", "-q"), disk(t)
	m := bootWithDisk(t, hostboot.Options{Disk: used, DiskGiB: -1}, "", "")
	if got, want := said(m), can.or("none, because no unused disk matches "+used); got != want {
		t.Errorf("with a disk that is used, it says %q; want %q", got, want)
	}
	if out, err := exec.Command("blkid", "-p", used).CombinedOutput(); err != nil || !bytes.Contains(out, []byte(`TYPE="ext4"`)) || bytes.Contains(out, []byte("berth")) {
		t.Errorf("the used disk: %v, %s", err, out)
	}
	m = bootWithDisk(t, hostboot.Options{Disk: free, DiskGiB: -1}, "", "")
	if got, want := said(m), can.result("xfs", free); got != want {
		t.Fatalf("with a free disk, it says %q; want %q", got, want)
	}
	checkVolumes(t, m, can.result("xfs", free))
}

// disk makes a device of a sparse file, with a file system or without.
func disk(t *testing.T, mkfs ...string) (device string) {
	t.Helper()
	if err := hostboottest.Ready(); err != nil {
		return "" // Boot says so
	}
	file := filepath.Join(t.TempDir(), "disk")
	f, err := os.Create(file)
	if err == nil {
		err = f.Truncate(1 << 30)
		f.Close()
	}
	if err != nil {
		t.Fatal(err)
	}
	if len(mkfs) > 0 {
		if out, err := exec.Command(mkfs[0], append(slices.Clone(mkfs[1:]), file)...).CombinedOutput(); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
	}
	out, err := exec.Command("losetup", "-f", "--show", file).Output()
	if err != nil {
		t.Fatalf("losetup: %v", err)
	}
	device = strings.TrimSpace(string(out))
	t.Cleanup(func() {
		if out, err := exec.Command("losetup", "-d", device).CombinedOutput(); err != nil {
			t.Error(fmt.Errorf("%w: %s", err, out))
		}
	})
	return device
}

// checkDisk checks that Docker needs what its volumes are on, and that the console says whether these have project quotas. It
// returns what is mounted there.
func checkDisk(t *testing.T, m instance) (mounted string) {
	t.Helper()
	if needs := m.must(t, "systemctl show --value --property=Requires docker.service"); !strings.Contains(needs, "berth-disk.service") {
		t.Errorf("Docker requires %s", needs)
	}
	said := m.Console()[max(0, strings.Index(m.Console(), "berth: quotas of sessions: ")):]
	mounted = m.must(t, "findmnt -n -o FSTYPE "+volumes+" || true")
	if with := regexp.MustCompile(`^berth: quotas of sessions: (xfs|ext4) on`).MatchString(said); with != (mounted != "") {
		t.Errorf("%q is mounted, and the console says %q", mounted, said[:min(len(said), 200)])
	}
	t.Logf("the volumes are on %q", mounted)
	return mounted
}
