// Package privacy keeps with a mirror whether a credential was needed for anything that it holds. It is used by the agent, and
// by the program that git asks for a credential, which runs as the mirror's owner.
package privacy

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
)

// The names of the files in a mirror's directory.
const (
	// Anonymous is there while everything in the mirror was fetched without a credential. A mirror without the file is
	// private. That is also so after an agent of an older version has used it, which removes the file.
	Anonymous = ".anonymous"
	// guests is there while sessions that have proven nothing use the mirror.
	guests = ".guests"
)

// A Mark says whether a mirror is private. It lies beside the mirror, and outlives the container.
type Mark struct {
	Dir  string // of the mirror
	Lock string // a directory that only the mirror's owner may open
}

// ErrGuests says that git may get no credential now.
var ErrGuests = errors.New("the repository asks for a credential now, and sessions that have not proven access to it share its container; " +
	"it can be fetched again when they have ended")

// Private reports whether something in the mirror may have been fetched with a credential.
func (m Mark) Private() bool {
	_, err := os.Lstat(m.path(Anonymous))
	return err != nil
}

// Reset makes a mirror that holds nothing not private.
func (m Mark) Reset() error {
	return m.locked(func() error { return touch(m.path(Anonymous)) })
}

// Guests stores whether sessions that have proven nothing use the mirror. ok is false if they must not, because the mirror is
// private.
func (m Mark) Guests(some bool) (ok bool, err error) {
	err = m.locked(func() error {
		switch {
		case !some:
			return absent(os.Remove(m.path(guests)))
		case m.Private():
			return nil
		}
		ok = true
		return touch(m.path(guests))
	})
	return ok && err == nil, err
}

// Disclose is called before git gets a credential. It makes the mirror private, durably. ErrGuests: git must not get it.
func (m Mark) Disclose() error {
	return m.locked(func() error {
		if m.Private() {
			return nil
		}
		if _, err := os.Lstat(m.path(guests)); !errors.Is(err, fs.ErrNotExist) {
			return errors.Join(ErrGuests, err)
		}
		if err := os.Remove(m.path(Anonymous)); err != nil {
			return err
		}
		dir, err := os.Open(m.Dir)
		if err != nil {
			return err
		}
		defer dir.Close()
		return dir.Sync()
	})
}

func (m Mark) path(name string) string { return filepath.Join(m.Dir, name) }

// locked calls fn while no other process and no other goroutine is in a locked.
func (m Mark) locked(fn func() error) error {
	dir, err := os.Open(m.Lock)
	if err != nil {
		return err
	}
	defer dir.Close()
	for {
		err := syscall.Flock(int(dir.Fd()), syscall.LOCK_EX)
		if err == nil {
			return fn()
		}
		if err != syscall.EINTR {
			return os.NewSyscallError("flock", err)
		}
	}
}

func touch(file string) error {
	f, err := os.OpenFile(file, os.O_CREATE|os.O_WRONLY, 0o644)
	if err != nil {
		return err
	}
	return f.Close()
}

func absent(err error) error {
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return err
}
