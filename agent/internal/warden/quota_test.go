package warden

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"unsafe"

	"github.com/berth-go/berth/internal/test/need"
)

// projectDisk mounts a file system with quotas of projects, or without, for the time of a test.
func projectDisk(t *testing.T, kind string, options ...string) (dir string) {
	t.Helper()
	mkfs := []string{"mkfs.xfs", "-q"}
	if kind == "ext4" {
		mkfs = []string{"mkfs.ext4", "-q", "-O", "quota,project", "-E", "quotatype=prjquota"}
	}
	need.Root(t) // to mount a file system
	need.Program(t, mkfs[0])
	dir = t.TempDir()
	image := filepath.Join(t.TempDir(), "image")
	run := func(args ...string) {
		t.Helper()
		if out, err := exec.Command(args[0], args[1:]...).CombinedOutput(); err != nil {
			t.Fatalf("%q: %v\n%s", args, err, out)
		}
	}
	run("truncate", "-s", "320M", image)
	run(append(mkfs, image)...)
	args := []string{"-o", strings.Join(append([]string{"loop"}, options...), ","), image, dir}
	if out, err := exec.Command("mount", args...).CombinedOutput(); err != nil {
		need.Kernel(t, "quotas", "%s with quotas of projects cannot be mounted: %v\n%s", kind, err, out)
	}
	t.Cleanup(func() { run("umount", dir) })
	return dir
}

// as runs a shell script as a uid that owns a directory.
func as(t *testing.T, dir, script string) (out string, err error) {
	t.Helper()
	cmd := exec.Command("sh", "-c", script)
	cmd.Dir, cmd.SysProcAttr = dir, &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 12345, Gid: 12345}}
	text, err := cmd.CombinedOutput()
	return string(text), err
}

func bounded(t *testing.T, dir string, q quota) int {
	t.Helper()
	if err := errors.Join(os.Mkdir(dir, 0o700), os.Chown(dir, 12345, 12345)); err != nil {
		t.Fatal(err)
	}
	fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { syscall.Close(fd) })
	if err := boundDir(fd, q); err != nil {
		t.Fatal(err)
	}
	return fd
}

func TestAQuotaBoundsADirectory(t *testing.T) {
	for _, kind := range []string{"ext4", "xfs"} {
		t.Run(kind, func(t *testing.T) { checkQuota(t, projectDisk(t, kind, "prjquota")) })
	}
}

func checkQuota(t *testing.T, disk string) {
	if !quotasAt(disk) {
		t.Fatal("the file system enforces no quotas of projects")
	}
	os.Chmod(filepath.Dir(filepath.Dir(disk)), 0o755)
	os.Chmod(filepath.Dir(disk), 0o755)
	dir, beside := filepath.Join(disk, "s"), filepath.Join(disk, "beside")
	fd := bounded(t, dir, quota{Bytes: 8 << 20, Files: 100})
	bounded(t, beside, quota{Bytes: 8 << 20, Files: 100})
	for what, script := range map[string]string{
		"a large file":           "head -c 9m /dev/zero >large",
		"files in a directory":   "mkdir d; cd d; for i in 1 2 3 4 5 6 7 8 9; do head -c 1m /dev/zero >$i || exit 1; done",
		"a removed file":         "exec 3>gone; rm gone; head -c 6m /dev/zero >&3; head -c 6m /dev/zero >other",
		"many files":             "i=0; while [ $i -lt 101 ]; do : >$i || exit 1; i=$((i+1)); done",
		"a file of another mode": "umask 0; head -c 9m /dev/zero >large",
	} {
		out, err := as(t, dir, script)
		if err == nil || !strings.Contains(out, "uota exceeded") && !strings.Contains(out, "No space left on device") { // the latter on XFS
			t.Errorf("%s: %v, %q", what, err, out)
		}
		if _, err := as(t, beside, "head -c 1m /dev/zero >file"); err != nil {
			t.Errorf("%s: a neighbour cannot write", what)
		}
		if _, err := as(t, dir, "find . -mindepth 1 -delete"); err != nil {
			t.Error(err)
		}
	}
	if _, err := as(t, dir, "truncate -s 1T sparse; head -c 4m /dev/zero >file; for i in 1 2 3; do ln file l$i; done"); err != nil {
		t.Errorf("a hole and links: %v", err)
	}
	if err := boundDir(fd, quota{Bytes: 32 << 20}); err != nil {
		t.Fatal(err)
	}
	if _, err := as(t, dir, "head -c 20m /dev/zero >large"); err != nil {
		t.Errorf("with a higher quota: %v", err)
	}
	if err := boundDir(fd, quota{}); err != nil {
		t.Fatal(err)
	}
	var p project
	var r quotaRecord
	if err := errors.Join(fileProject(fd, getXattr, &p), projectRecord(fd, getQuota, p.id, &r)); err != nil || r.hardBytes|r.hardFiles != 0 {
		t.Errorf("the ended quota of project %d is %+v, %v", p.id, r, err)
	}
	if p.id < firstProject {
		t.Errorf("the project is %d", p.id)
	}
}

func TestNoQuotaWhereNoneIsEnforced(t *testing.T) {
	for _, options := range [][]string{nil, {"pqnoenforce"}} {
		if quotasAt(projectDisk(t, "xfs", options...)) {
			t.Errorf("a file system with the options %q is said to enforce quotas", options)
		}
	}
	if quotasAt(projectDisk(t, "ext4")) {
		t.Error("a file system without prjquota is said to enforce quotas")
	}
	if quotasAt("/proc") || quotasAt("/absent") {
		t.Error("a place without quotas is said to enforce them")
	}
}

// TestAForeignProjectIsLeftAlone has a directory that somebody else has given a project.
func TestAForeignProjectIsLeftAlone(t *testing.T) {
	disk := projectDisk(t, "ext4", "prjquota")
	fd := bounded(t, filepath.Join(disk, "s"), quota{Bytes: 1 << 20})
	p := project{id: 7}
	if err := fileProject(fd, setXattr, &p); err != nil {
		t.Fatal(err)
	}
	if err := boundDir(fd, quota{Bytes: 1 << 20}); err == nil {
		t.Error("the project of somebody else was taken")
	}
}

// TestASessionKeepsItsProject has a thread with the filter of rooms, which owns the files that it tries to give away.
func TestASessionKeepsItsProject(t *testing.T) {
	dir := t.TempDir()
	failed := make(chan []string)
	go func() {
		runtime.LockOSThread() // and never unlocks it: the filter ends with the thread
		var wrong []string
		expect := func(what string, err error, want error) {
			if !errors.Is(err, want) {
				wrong = append(wrong, fmt.Sprintf("%s: %v, want %v", what, err, want))
			}
		}
		fd, err := syscall.Open(dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
		expect("opening", err, nil)
		f := keepProjects()
		program := struct {
			length uint16
			code   *byte
		}{uint16(len(f.Program) / instruction), &f.Program[0]}
		var p project
		if errors.Is(fileProject(fd, setXattr, &p), syscall.EPERM) {
			wrong = append(wrong, "the project cannot be set without the filter, either")
		}
		_, err = call("prctl", syscall.SYS_PRCTL, 38, 1)
		expect("no_new_privs", err, nil)
		_, err = call("seccomp", sysSeccomp, seccompSetModeFilter, 0, uintptr(unsafe.Pointer(&program)))
		expect("seccomp", err, nil)
		if errors.Is(fileProject(fd, getXattr, &p), syscall.EPERM) {
			wrong = append(wrong, "the project cannot be read")
		}
		expect("FS_IOC_FSSETXATTR", fileProject(fd, setXattr, &p), syscall.EPERM)
		var flags [2]int32
		for name, request := range map[string]uintptr{"FS_IOC_SETFLAGS": 0x40086602, "FS_IOC32_SETFLAGS": 0x40046602, "with more bits": 0x700000000 | setXattr} {
			_, err := call("ioctl", syscall.SYS_IOCTL, at(fd), request, uintptr(unsafe.Pointer(&flags)))
			expect(name, err, syscall.EPERM)
		}
		_, err = call("file_setattr", 469, at(fd), uintptr(unsafe.Pointer(cstring(""))), uintptr(unsafe.Pointer(&flags)), 8, atEmptyPath)
		expect("file_setattr", err, syscall.EPERM)
		_, err = call("ioctl", syscall.SYS_IOCTL, at(fd), 0x5401, uintptr(unsafe.Pointer(&flags))) // TCGETS
		expect("another ioctl", err, syscall.ENOTTY)
		syscall.Close(fd)
		failed <- wrong
	}()
	for _, what := range <-failed {
		t.Error(what)
	}
}
