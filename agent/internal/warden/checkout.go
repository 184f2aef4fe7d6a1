package warden

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"

	"github.com/berth-go/berth/agent/internal/room"
)

// A checkout is an overlay like a shared cache: below are the files of a commit, above is a directory of the session. Unlike a cache it
// has no substitute. And its directories can be renamed, as programs expect of a checkout, so the kernel notes in the upper directory
// where the files of a renamed one are. A session cannot write such a note: it lacks the right to set attributes "trusted.*".

// noCheckout is an error that is room.ErrNoCheckout.
type noCheckout struct{ error }

func (noCheckout) Is(target error) bool { return target == room.ErrNoCheckout }

// mountCheckout mounts the checkout in the session's directory.
func (f *furnisher) mountCheckout(own int) error {
	c := f.spec.Checkout
	if c == nil {
		return nil
	}
	if err := f.mountOver(own, strings.TrimPrefix(c.Dir, f.spec.Dir+"/")); err != nil {
		return noCheckout{fmt.Errorf("the checkout over %s: %w", c.Layer, err)}
	}
	return nil
}

func (f *furnisher) mountOver(own int, name string) error {
	dir, err := f.keep(openDir(own, name, beneath|noSymlinks|noMagicLinks))
	if err != nil {
		return err
	}
	var st syscall.Stat_t
	if err := syscall.Fstat(dir, &st); err != nil {
		return os.NewSyscallError("fstat", err)
	}
	if st.Uid != 0 || st.Mode&0o777 != 0o700 {
		return errors.New("its directory is not root's alone")
	}
	mnt, err := f.overlay(dir, "on", f.commit...)
	if err != nil {
		return err
	}
	return moveMount(mnt, dir, "")
}

// copyCheckout makes the mounts of the files of the commit, and of those below them, in the container.
func (f *furnisher) copyCheckout() error {
	c := f.spec.Checkout
	if c == nil {
		return nil
	}
	for _, path := range []string{c.Layer, c.Below} {
		if path == "" {
			continue
		}
		layer, err := f.copyLayer(path)
		if err != nil {
			return noCheckout{fmt.Errorf("the files %s: %w", path, err)}
		}
		f.commit = append(f.commit, layer)
	}
	return nil
}

// tryCheckout mounts a checkout in a new directory below dir, which is a path of the container, and uses it. The directory is removed.
func (c *container) tryCheckout(dir string) error {
	if !filepath.IsAbs(dir) || filepath.Clean(dir) != dir || dir == "/" {
		return errors.New("bad directory")
	}
	if err := c.ready(); err != nil {
		return err
	}
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocks it: the thread ends with the goroutine, and its mounts with it
		done <- mountTrial(c, dir)
	}()
	return <-done
}

// trialUID is that of the session in a trial.
const trialUID = 10000

// mountTrial is called by a thread that is lost afterwards.
func mountTrial(c *container, dir string) (err error) {
	f := furnisher{spec: room.Spec{UID: trialUID}}
	defer f.close()
	if f.userns, err = f.keep(userNamespace(room.LayerUID, trialUID)); err != nil {
		return fmt.Errorf("a user namespace: %w", err)
	}
	if err := c.enterMounts(syscall.CLONE_NEWNS); err != nil {
		return err
	}
	if _, err := call("unshare", syscall.SYS_UNSHARE, syscall.CLONE_NEWNS); err != nil {
		return err
	}
	if f.root, err = f.keep(openDir(atFDCWD, "/", 0)); err != nil {
		return err
	}
	if err := setMount(f.root, "", 0, true, true); err != nil {
		return err
	}
	top, err := os.MkdirTemp(dir, ".trial-")
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(top)) }()
	return f.tryIn(top)
}

// tryIn makes a layer and a checkout over it in an empty directory, which has nothing mounted in it afterwards.
func (f *furnisher) tryIn(top string) error {
	at := filepath.Join(top, "at")
	for _, d := range []string{at, at + "/" + room.Lower, at + "/" + room.Upper, top + "/layer", top + "/layer/d"} {
		if err := os.Mkdir(d, 0o700); err != nil {
			return err
		}
	}
	if err := errors.Join(
		os.WriteFile(top+"/layer/d/f", []byte("x"), 0o600), os.Chown(top+"/layer/d/f", room.LayerUID, room.LayerUID),
		os.Chown(top+"/layer/d", room.LayerUID, room.LayerUID), os.Chown(top+"/layer", room.LayerUID, room.LayerUID),
		os.Chown(at+"/"+room.Upper, trialUID, trialUID),
	); err != nil {
		return err
	}
	f.spec.Dir, f.spec.Checkout = top, &room.Overlay{Dir: at, Layer: top + "/layer"}
	own, err := f.keep(openDir(atFDCWD, top, noSymlinks))
	if err != nil {
		return err
	}
	if err := f.copyCheckout(); err != nil {
		return err
	}
	defer syscall.Unmount(at+"/"+room.Lower, syscall.MNT_DETACH)
	if err := f.mountCheckout(own); err != nil {
		return err
	}
	defer syscall.Unmount(at, syscall.MNT_DETACH)
	var st syscall.Stat_t
	if err := syscall.Stat(at+"/d/f", &st); err != nil {
		return os.NewSyscallError("stat", err)
	}
	if st.Uid != trialUID || st.Gid != trialUID {
		return fmt.Errorf("the files are shown as those of uid %d and gid %d", st.Uid, st.Gid)
	}
	return errors.Join(os.WriteFile(at+"/d/f", []byte("y"), 0o600), os.Rename(at+"/d", at+"/e"))
}
