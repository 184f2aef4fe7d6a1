package warden

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"strings"
	"syscall"
	"unsafe"
)

// The mounts of a room are made by descriptors. No path is looked up twice, because it could lead elsewhere the second time.

// Flags of a mount, as in mount_setattr.
const (
	readOnly = 1
	noSuid   = 2
	noDev    = 4
	noExec   = 8
)

// openTree returns a copy of a mount. With below, the mounts below it are copied, too.
func openTree(dirfd int, path string, below bool) (int, error) {
	const clone, cloexec = 1, syscall.O_CLOEXEC
	flags := uintptr(clone | cloexec | atEmptyPath)
	if below {
		flags |= atRecursive
	}
	p := cstring(path)
	fd, err := call("open_tree", sysOpenTree, at(dirfd), uintptr(unsafe.Pointer(p)), flags)
	runtime.KeepAlive(p)
	return int(fd), err
}

// newMount makes a file system and returns its mount, which is nowhere yet.
func newMount(kind string, flags uintptr, options ...string) (int, error) {
	const cloexec, setString, create = 1, 1, 6
	p := cstring(kind)
	fs, err := call("fsopen", sysFsopen, uintptr(unsafe.Pointer(p)), cloexec)
	runtime.KeepAlive(p)
	if err != nil {
		return -1, err
	}
	defer syscall.Close(int(fs))
	for _, o := range options {
		key, value, ok := strings.Cut(o, "=")
		k, v, command := cstring(key), cstring(value), uintptr(setString)
		at := unsafe.Pointer(v)
		if !ok {
			command, at = 0, nil // a flag
		}
		_, err := call("fsconfig", sysFsconfig, fs, command, uintptr(unsafe.Pointer(k)), uintptr(at), 0)
		runtime.KeepAlive(k)
		runtime.KeepAlive(v)
		if err != nil {
			return -1, fmt.Errorf("%s of %s: %w", o, kind, err)
		}
	}
	if _, err := call("fsconfig", sysFsconfig, fs, create, 0, 0, 0); err != nil {
		return -1, err
	}
	mnt, err := call("fsmount", sysFsmount, fs, cloexec, flags)
	return int(mnt), err
}

// moveMount mounts what openTree or newMount returned on what dirfd and path name. An empty path means dirfd itself.
func moveMount(mnt, dirfd int, path string) error {
	const fromEmpty, toEmpty = 4, 0x40
	flags := uintptr(fromEmpty)
	if path == "" {
		flags |= toEmpty
	}
	none, p := cstring(""), cstring(path)
	_, err := call("move_mount", sysMoveMount, at(mnt), uintptr(unsafe.Pointer(none)), at(dirfd), uintptr(unsafe.Pointer(p)), flags)
	runtime.KeepAlive(none)
	runtime.KeepAlive(p)
	return err
}

// setMount changes flags of a mount, and with below of those below it. private ends all exchange of mounts with other
// namespaces.
func setMount(dirfd int, path string, set uintptr, private, below bool) error {
	const msPrivate = 1 << 18
	attr := mountAttr{set: uint64(set)}
	if private {
		attr.propagation = msPrivate
	}
	flags := uintptr(atEmptyPath)
	if below {
		flags |= atRecursive
	}
	return attr.apply(dirfd, path, flags)
}

// mapMount makes a mount that openTree returned show the owners of its files as a user namespace maps them. It cannot be written
// to any more.
func mapMount(mnt, userns int) error {
	const idMap = 0x100000
	attr := mountAttr{set: idMap | readOnly | noSuid | noDev, userns: uint64(userns)}
	return attr.apply(mnt, "", atEmptyPath)
}

// A mountAttr is what mount_setattr changes of a mount.
type mountAttr struct{ set, clear, propagation, userns uint64 }

func (a *mountAttr) apply(dirfd int, path string, flags uintptr) error {
	p := cstring(path)
	_, err := call("mount_setattr", sysMountSetattr, at(dirfd), uintptr(unsafe.Pointer(p)), flags, uintptr(unsafe.Pointer(a)), unsafe.Sizeof(*a))
	runtime.KeepAlive(p)
	return err
}

// Bits of openat2's resolve.
const (
	noMagicLinks = 2
	noSymlinks   = 4
	beneath      = 8
	inRoot       = 16
)

// openTries bounds how often a path is opened. openat2 fails with EAGAIN if anything on the machine is renamed or mounted while it looks
// at "..", and its manual page says to try again.
const openTries = 1000

// openPath opens a path below a directory, without any right to what it names.
func openPath(dirfd int, path string, resolve uint64) (int, error) {
	how := struct{ flags, mode, resolve uint64 }{oPath | syscall.O_CLOEXEC, 0, resolve}
	p := cstring(path)
	var fd uintptr
	var err error
	for range openTries {
		if fd, err = call("openat2", sysOpenat2, at(dirfd), uintptr(unsafe.Pointer(p)), uintptr(unsafe.Pointer(&how)), unsafe.Sizeof(how)); !errors.Is(err, syscall.EAGAIN) {
			break
		}
	}
	runtime.KeepAlive(p)
	if err != nil {
		return -1, fmt.Errorf("/%s: %w", path, err)
	}
	return int(fd), nil
}

// openDir opens a directory as openPath does.
func openDir(dirfd int, path string, resolve uint64) (int, error) {
	fd, err := openPath(dirfd, path, resolve)
	if err != nil {
		return -1, err
	}
	var st syscall.Stat_t
	if err = syscall.Fstat(fd, &st); err == nil && st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		err = &os.PathError{Op: "open", Path: path, Err: syscall.ENOTDIR}
	}
	if err != nil {
		syscall.Close(fd)
		return -1, err
	}
	return fd, nil
}

// missing reports whether an error means that there is no such file.
func missing(err error) bool {
	return errors.Is(err, syscall.ENOENT) || errors.Is(err, syscall.ENOTDIR)
}

// A mounted is a line of /proc/PID/mountinfo.
type mounted struct {
	root   string // of the mount in its file system
	point  string
	kind   string
	reads  bool // it is read-only
	supers string
}

// parseMounts parses a mountinfo.
func parseMounts(text string) (list []mounted) {
	unescape := strings.NewReplacer(`\040`, " ", `\011`, "\t", `\012`, "\n", `\134`, `\`)
	for line := range strings.Lines(text) {
		// 97 96 0:43 / /proc rw,nosuid shared:1 - proc proc rw
		f := strings.Fields(line)
		var dash int
		for dash = 6; dash < len(f) && f[dash] != "-"; dash++ {
		}
		if dash+3 >= len(f) {
			continue
		}
		list = append(list, mounted{
			root: unescape.Replace(f[3]), point: unescape.Replace(f[4]),
			reads: f[5] == "ro" || strings.HasPrefix(f[5], "ro,"), kind: f[dash+1], supers: f[dash+3],
		})
	}
	return list
}
