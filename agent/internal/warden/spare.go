package warden

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"syscall"

	"github.com/berth-go/berth/agent/internal/room"
)

// A spare room is opened before its session is known. It lacks the session's directory alone, which it gets when a session takes it.
// Until then nothing runs in it but its init.

// keepSpare keeps the handle of a room's init if the room is a spare one, and closes it if not.
func (c *container) keepSpare(s room.Spec, init int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if l := c.rooms[s.ID]; s.Spare && l != nil {
		l.spare = init
		return
	}
	syscall.Close(init)
}

// disown closes the handle of a spare room. The container's mu is held.
func (l *lock) disown() {
	if l.spare != 0 {
		syscall.Close(l.spare)
		l.spare = 0
	}
}

func (c *container) disownAll() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, l := range c.rooms {
		l.disown()
	}
}

// take gives a spare room to a session. After an error the room is of no use, and cannot be taken again.
func (c *container) take(ctx context.Context, s room.Spec) error {
	if err := c.ready(); err != nil {
		return err
	}
	release, known, err := c.acquire(ctx, s.ID)
	if err != nil {
		return err
	}
	defer release(!known)
	c.mu.Lock()
	l := c.rooms[s.ID]
	init := l.spare
	l.spare = 0
	c.mu.Unlock()
	if init == 0 {
		return fmt.Errorf("room %s is not a spare one", s.ID)
	}
	defer syscall.Close(init)
	done := make(chan error, 1)
	go func() {
		runtime.LockOSThread() // and never unlocks it: the thread ends with the goroutine
		done <- c.mountOwn(s, init)
	}()
	return <-done
}

// mountOwn mounts a session's directory in a room, from a thread that is lost afterwards.
func (c *container) mountOwn(s room.Spec, init int) (err error) {
	f := furnisher{spec: s}
	defer f.close()
	f.openNamespace()
	if err := c.enterMounts(syscall.CLONE_NEWNS); err != nil {
		return err
	}
	if f.root, err = f.keep(openDir(atFDCWD, "/", 0)); err != nil {
		return err
	}
	own, err := f.copyOwn()
	if err != nil {
		return fmt.Errorf("the session's directory: %w", err)
	}
	if err := f.copyCheckout(); err != nil {
		return err
	}
	f.copyLayers()
	if err := setns(init, syscall.CLONE_NEWNS); err != nil {
		if errors.Is(err, syscall.ESRCH) {
			return errors.New("the init of the spare room has ended")
		}
		return err
	}
	if f.root, err = f.keep(openDir(atFDCWD, "/", 0)); err != nil {
		return err
	}
	if err := f.mountSessions(own); err != nil {
		return fmt.Errorf("the sessions: %w", err)
	}
	c.say(f.note)
	return nil
}
