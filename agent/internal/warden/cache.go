package warden

import (
	"errors"
	"fmt"
	"os"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"unsafe"

	"github.com/berth-go/berth/agent/internal/room"
)

// A shared cache is an overlay: a layer of the container below, which is read-only, and a directory of the session above. The layer's
// files are shown as the session's own, so that tools may do with them what they do with their own. The kernel writes what the
// session changes to the session's directory alone.

// say keeps why a cache is not shared for the next answer to the agent.
func (c *container) say(note error) {
	if note != nil {
		text := note.Error()
		c.note.Store(&text)
	}
}

// openNamespace makes the user namespace that maps the owner of layers to the session. It is called before the calling thread enters
// other namespaces.
func (f *furnisher) openNamespace() {
	f.userns = -1
	if len(f.spec.Caches) == 0 && f.spec.Checkout == nil {
		return
	}
	var err error
	if f.userns, err = f.keep(userNamespace(room.LayerUID, f.spec.UID)); err != nil {
		f.userns, f.note = -1, fmt.Errorf("a user namespace: %w", err)
	}
}

// userNamespace returns a user namespace in which the owner of a file is shown as another. It lives as long as its descriptor.
func userNamespace(owner, shown int) (fd int, err error) {
	const newUser, clonePidfd = 0x10000000, 0x1000
	var pipe [2]int
	if err := syscall.Pipe2(pipe[:], syscall.O_CLOEXEC); err != nil {
		return -1, os.NewSyscallError("pipe2", err)
	}
	defer closeAll(pipe[:])
	var wait script // a process has to be in the namespace until it is open
	wait.add("ppoll", syscall.SYS_PPOLL)
	pidfd := new(int32)
	wait.keep = append(wait.keep, pidfd) // so that it is on the heap, where it does not move
	args := &cloneArgs{flags: newUser | clonePidfd, pidfd: uint64(uintptr(unsafe.Pointer(pidfd))), exitSignal: uint64(syscall.SIGCHLD)}
	pid, e := fork(args, wait.steps, pipe[1])
	runtime.KeepAlive(wait.keep)
	if e != 0 {
		return -1, os.NewSyscallError("clone3", e)
	}
	defer func() {
		if pidfdKill(int(*pidfd)) == nil {
			syscall.Wait4(pid, nil, 0, nil) // another goroutine may have collected it
		}
		syscall.Close(int(*pidfd))
	}()
	entry := []byte(fmt.Sprintf("%d %d 1", owner, shown))
	for _, name := range []string{"uid_map", "gid_map"} {
		if err := os.WriteFile(procPath(pid, name), entry, 0); err != nil {
			return -1, err
		}
	}
	fd, err = syscall.Open(procPath(pid, "ns/user"), syscall.O_RDONLY|syscall.O_CLOEXEC, 0)
	return fd, os.NewSyscallError("opening a user namespace", err)
}

// copyLayers makes the mounts of the layers, in the container.
func (f *furnisher) copyLayers() {
	for _, c := range f.spec.Caches {
		tree, err := f.copyLayer(c.Layer)
		if err != nil {
			tree, f.note = -1, errors.Join(f.note, fmt.Errorf("the layer %s: %w", c.Layer, err))
		}
		f.layers = append(f.layers, tree)
	}
}

func (f *furnisher) copyLayer(path string) (int, error) {
	if f.userns < 0 {
		return -1, errors.New("its owner cannot be mapped")
	}
	dir, err := f.keep(openDir(f.root, below(path), inRoot|noSymlinks|noMagicLinks))
	if err != nil {
		return -1, err
	}
	tree, err := f.keep(openTree(dir, "", false))
	if err != nil {
		return -1, err
	}
	return tree, mapMount(tree, f.userns)
}

// mountCaches mounts the caches in the session's directory. A cache that cannot be shared is a directory of the session's own.
func (f *furnisher) mountCaches(own int) error {
	for i, c := range f.spec.Caches {
		dir, err := f.keep(openDir(own, strings.TrimPrefix(c.Dir, f.spec.Dir+"/"), beneath|noSymlinks|noMagicLinks))
		if missing(err) || errors.Is(err, syscall.ELOOP) {
			continue // the session has moved it
		}
		if err != nil {
			return err
		}
		var st syscall.Stat_t
		if err := syscall.Fstat(dir, &st); err != nil {
			return err
		}
		if st.Uid != 0 || st.Mode&0o777 != 0o700 {
			continue // it is the session's own
		}
		mnt, err := f.overlay(dir, "nofollow", f.layers[i])
		if err != nil {
			f.note = errors.Join(f.note, fmt.Errorf("mounting a cache: %w", err))
			if mnt, err = f.keep(openTree(dir, room.Upper, false)); err != nil {
				return fmt.Errorf("the cache %s: %w", c.Dir, err)
			}
		}
		if err := moveMount(mnt, dir, ""); err != nil {
			return fmt.Errorf("the cache %s: %w", c.Dir, err)
		}
	}
	return nil
}

// overlay returns the mount of an overlay over one or two layers, the upper one first. The kernel takes its directories by their paths.
// These are relative to the directory of the overlay, in which only root can change anything. redirects is the mount option redirect_dir.
func (f *furnisher) overlay(dir int, redirects string, layers ...int) (mnt int, err error) {
	if slices.Min(layers) < 0 {
		return -1, errors.New("there is no layer")
	}
	if err := syscall.Fchdir(dir); err != nil {
		return -1, os.NewSyscallError("fchdir", err)
	}
	defer syscall.Fchdir(f.root)
	work, err := makeWork(dir)
	if err != nil {
		return -1, err
	}
	names := []string{room.Lower, room.Below}[:len(layers)]
	for i, layer := range layers { // overlay takes attached mounts only
		if err := moveMount(layer, dir, names[i]); err != nil {
			return -1, err
		}
	}
	// Nothing of it outlives a crash, so the kernel need not write it out when the session ends.
	// The layers' mounts stay where they are, below the overlay's: to take them away would cost a grace period of the kernel.
	return f.keep(newMount("overlay", noSuid|noDev,
		"lowerdir="+strings.Join(names, ":"), "upperdir="+room.Upper, "workdir="+work, "index=off", "metacopy=off", "redirect_dir="+redirects, "volatile"))
}

// makeWork makes a directory for the overlay's own use. One that was used cannot be used again.
func makeWork(dir int) (name string, err error) {
	const tries = 1000 // a session gets a new room if its memory was used up
	for i := range tries {
		name = "work" + strconv.Itoa(i)
		if err = syscall.Mkdirat(dir, name, 0o700); !errors.Is(err, syscall.EEXIST) {
			break
		}
	}
	return name, os.NewSyscallError("mkdirat", err)
}
