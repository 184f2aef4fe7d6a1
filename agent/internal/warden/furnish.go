package warden

import (
	"cmp"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/berth-go/berth/agent/internal/room"
)

// A furnisher makes the mounts of a room. It runs in the room's namespaces.
type furnisher struct {
	spec   room.Spec
	hidden []string  // directories that the room sees empty
	mounts []mounted // of the container
	root   int       // the container's root directory
	files  []int     // descriptors to close
	userns int       // maps the owner of layers; -1 = there is none
	layers []int     // mounts of the caches' layers, as Spec.Caches; -1 = it cannot be mounted
	commit []int     // mounts of the layers of Spec.Checkout, the upper one first
	note   error     // why a cache is not shared
}

// keep closes a descriptor in the end, unless it could not be opened.
func (f *furnisher) keep(fd int, err error) (int, error) {
	if err == nil {
		f.files = append(f.files, fd)
	}
	return fd, err
}

func (f *furnisher) close() { closeAll(f.files) }

// furnish makes all mounts but that of /proc.
func (f *furnisher) furnish() (err error) {
	if f.root, err = f.keep(openDir(atFDCWD, "/", 0)); err != nil {
		return err
	}
	own := -1
	if f.spec.Dir != "" {
		if own, err = f.copyOwn(); err != nil {
			return fmt.Errorf("the session's directory: %w", err)
		}
		if err := f.copyCheckout(); err != nil {
			return err
		}
		f.copyLayers()
	}
	views, err := f.cgroupViews()
	if err != nil {
		return fmt.Errorf("the cgroups: %w", err)
	}
	if err := setMount(f.root, "", readOnly, true, true); err != nil {
		return fmt.Errorf("making the container's mounts read-only: %w", err)
	}
	for _, v := range views {
		if err := moveMount(v.tree, f.root, v.point); err != nil {
			return fmt.Errorf("the cgroup %s: %w", v.point, err)
		}
	}
	if own >= 0 {
		if err := f.mountSessions(own); err != nil {
			return fmt.Errorf("the sessions: %w", err)
		}
	}
	hidden := f.hidden
	if own < 0 {
		hidden = append(slices.Clone(hidden), f.spec.SessionsDir)
	}
	for _, dir := range hidden {
		if below(dir) == "." {
			continue // it is not set
		}
		if err := f.mountOn(dir, false, "tmpfs", readOnly|noSuid|noDev|noExec, "size=4k", "nr_inodes=1", "mode=0755"); err != nil {
			return err
		}
	}
	if err := f.mountTemporary(); err != nil {
		return err
	}
	return f.mountDevices()
}

// copyOwn copies the mount of the session's directory while it is still writable.
func (f *furnisher) copyOwn() (int, error) {
	sessions, err := f.keep(openDir(f.root, below(f.spec.SessionsDir), inRoot|noSymlinks|noMagicLinks))
	if err != nil {
		return -1, err
	}
	dir, err := f.keep(openDir(sessions, filepath.Base(f.spec.Dir), beneath|noSymlinks|noMagicLinks))
	if err != nil {
		return -1, err
	}
	tree, err := f.keep(openTree(dir, "", false))
	if err != nil {
		return -1, err
	}
	return tree, setMount(tree, "", noSuid|noDev, true, false)
}

// mountSessions hides the directories of the other sessions.
func (f *furnisher) mountSessions(own int) error {
	over, err := f.keep(openDir(f.root, below(f.spec.SessionsDir), inRoot|noSymlinks|noMagicLinks))
	if err != nil {
		return err
	}
	mnt, err := f.keep(newMount("tmpfs", noSuid|noDev|noExec, "size=4k", "nr_inodes=4", "mode=0711"))
	if err != nil {
		return err
	}
	name := filepath.Base(f.spec.Dir)
	if err := syscall.Mkdirat(mnt, name, 0o711); err != nil {
		return os.NewSyscallError("mkdirat", err)
	}
	if err := moveMount(mnt, over, ""); err != nil {
		return err
	}
	if err := setMount(mnt, "", readOnly, true, false); err != nil {
		return err
	}
	if err := moveMount(own, mnt, name); err != nil {
		return err
	}
	if err := f.mountCheckout(own); err != nil {
		return err
	}
	return f.mountCaches(own)
}

// mountOn makes a file system on a directory of the container, if there is one. With links, the directory may be named by
// symbolic links of the image.
func (f *furnisher) mountOn(dir string, links bool, kind string, flags uintptr, options ...string) error {
	resolve := uint64(inRoot | noMagicLinks)
	if !links {
		resolve |= noSymlinks
	}
	over, err := f.keep(openDir(f.root, below(dir), resolve))
	if missing(err) {
		return nil
	}
	if err != nil {
		return err
	}
	mnt, err := f.keep(newMount(kind, flags, options...))
	if err != nil {
		return fmt.Errorf("a %s for %s: %w", kind, dir, err)
	}
	if err := moveMount(mnt, over, ""); err != nil {
		return fmt.Errorf("%s: %w", dir, err)
	}
	return nil
}

// reserved are directories on which no temporary one is mounted, wherever an image's links lead.
var reserved = []string{"/", "/proc", "/sys", "/dev", "/berth", "/etc", "/usr", "/bin", "/sbin", "/lib", "/lib64", "/root"}

// mountTemporary mounts the directories that any user may write in. Two names of one directory are mounted once.
func (f *furnisher) mountTemporary() error {
	l := f.spec.Limits
	var done []string
	for _, t := range []struct {
		dir   string
		bytes int64
		flags uintptr
	}{{"/tmp", l.TmpBytes, noSuid | noDev}, {"/var/tmp", l.VarTmpBytes, noSuid | noDev}, {"/dev/shm", l.ShmBytes, noSuid | noDev | noExec}} {
		fd, err := f.keep(openDir(f.root, below(t.dir), inRoot|noMagicLinks))
		if missing(err) {
			continue // the session has none, as in the image
		}
		if err != nil {
			return err
		}
		real, err := os.Readlink("/proc/thread-self/fd/" + strconv.Itoa(fd))
		if err != nil {
			return err
		}
		if slices.Contains(done, real) {
			continue
		}
		done = append(done, real)
		if real != t.dir && f.isReserved(real) {
			return fmt.Errorf("%s of the image leads to %s", t.dir, real)
		}
		options := []string{"mode=1777"}
		if t.bytes > 0 {
			options = append(options, fmt.Sprintf("size=%d", t.bytes))
		}
		if l.Inodes > 0 {
			options = append(options, fmt.Sprintf("nr_inodes=%d", l.Inodes))
		}
		mnt, err := f.keep(newMount("tmpfs", t.flags, options...))
		if err != nil {
			return fmt.Errorf("a tmpfs for %s: %w", t.dir, err)
		}
		if err := moveMount(mnt, fd, ""); err != nil {
			return fmt.Errorf("%s: %w", t.dir, err)
		}
	}
	return nil
}

// isReserved reports whether a directory is a reserved one, lies in one, or holds the sessions.
func (f *furnisher) isReserved(dir string) bool {
	for _, r := range slices.Concat(reserved, []string{f.spec.SessionsDir, f.spec.MirrorDir, f.spec.RunDir}) {
		if r != "" && (dir == r || r != "/" && strings.HasPrefix(dir, r+"/") || strings.HasPrefix(r, dir+"/")) {
			return true
		}
	}
	return false
}

// mountDevices makes the terminals and the queues of the room.
func (f *furnisher) mountDevices() error {
	terminals := []string{"newinstance", "ptmxmode=0666", "mode=0620"}
	if m, ok := f.at("/dev/pts"); ok {
		terminals = append(terminals, superOptions(m, "gid")...)
	}
	if n := f.spec.Limits.PTYs; n > 0 {
		terminals = append(terminals, fmt.Sprintf("max=%d", n))
	}
	return errors.Join(
		f.mountOn("/dev/pts", false, "devpts", noSuid|noExec, terminals...),
		f.mountOn("/dev/mqueue", false, "mqueue", noSuid|noDev|noExec))
}

// at returns the mount that a path of the container shows.
func (f *furnisher) at(point string) (m mounted, ok bool) {
	for _, other := range f.mounts {
		if other.point == point {
			m, ok = other, true // the last lies on top
		}
	}
	return m, ok
}

// superOptions returns options of the file system of a mount.
func superOptions(m mounted, names ...string) (options []string) {
	for _, o := range strings.Split(m.supers, ",") {
		if name, _, _ := strings.Cut(o, "="); slices.Contains(names, name) {
			options = append(options, o)
		}
	}
	return options
}

// procSteps returns the steps that mount a /proc of the room, masked like the container's. Only a process of the room can mount it.
func (f *furnisher) procSteps(s *script) error {
	const flags = syscall.MS_NOSUID | syscall.MS_NODEV | syscall.MS_NOEXEC
	const fromEmpty = 4
	var options []string
	if m, ok := f.at("/proc"); ok {
		options = superOptions(m, "hidepid", "gid", "subset")
	}
	type mask struct {
		path string
		tree int // -1 = what lies there, read-only
	}
	var masks []mask
	over := slices.Clone(f.mounts)
	slices.SortStableFunc(over, func(a, b mounted) int { return cmp.Compare(len(a.point), len(b.point)) })
	for _, m := range over {
		if !strings.HasPrefix(m.point, "/proc/") {
			continue
		}
		tree := -1
		if m.kind != "proc" {
			var err error
			if tree, err = f.keep(openTree(f.root, below(m.point), false)); err != nil {
				return fmt.Errorf("%s: %w", m.point, err)
			}
		} else if "/proc"+m.root != m.point {
			return fmt.Errorf("the container shows %s of /proc at %s", m.root, m.point)
		}
		masks = append(masks, mask{m.point, tree})
	}
	proc, none := s.text("proc"), s.text("")
	s.add("mounting /proc", syscall.SYS_MOUNT, proc, s.text("/proc"), proc, flags, s.text(strings.Join(options, ",")))
	for _, m := range masks {
		path := s.text(m.path)
		if m.tree >= 0 {
			s.add("mounting "+m.path, sysMoveMount, at(m.tree), none, 0, path, fromEmpty)
			continue
		}
		s.add("binding "+m.path, syscall.SYS_MOUNT, path, path, 0, syscall.MS_BIND|syscall.MS_REC, 0)
		s.add("protecting "+m.path, syscall.SYS_MOUNT, 0, path, 0, syscall.MS_BIND|syscall.MS_REMOUNT|syscall.MS_RDONLY|flags, 0)
	}
	return nil
}

// A view is a mount of a room's cgroup, to lie over the container's.
type view struct {
	tree  int
	point string // below the root
}

// cgroupViews copies, for each hierarchy that the container sees, the mount of the room's cgroup. Programs read their limits there.
func (f *furnisher) cgroupViews() (views []view, err error) {
	for _, m := range f.mounts {
		if m.kind != "cgroup" && m.kind != "cgroup2" {
			continue
		}
		tree, err := f.keep(openTree(f.root, below(m.point)+"/"+roomPrefix+f.spec.ID, false))
		if missing(err) {
			continue // the room has no cgroup of its own there
		}
		if err == nil {
			err = setMount(tree, "", readOnly|noSuid|noDev|noExec, true, false)
		}
		if err != nil {
			return nil, fmt.Errorf("%s: %w", m.point, err)
		}
		views = append(views, view{tree, below(m.point)})
	}
	return views, nil
}

// below turns an absolute path into one below the root directory.
func below(path string) string { return strings.TrimPrefix(filepath.Clean(path), "/") }
