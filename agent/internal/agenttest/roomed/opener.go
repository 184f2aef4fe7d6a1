package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/room"
)

// opener opens rooms as children of this program. The agent's proc.Table reaps them.
type opener struct {
	program string
	silent  string
}

var errSilent = errors.New("the warden does not answer")

// Open implements [room.Opener].
func (o *opener) Open(ctx context.Context, s room.Spec) (control *os.File, pid int, err error) {
	if err := o.down(); err != nil {
		return nil, 0, err
	}
	first := stage{Spec: s, Program: o.program}
	if s.Limits.MemoryBytes > 0 {
		first.Cgroup = cgroup(s.ID)
	}
	text, err := json.Marshal(first)
	if err != nil {
		return nil, 0, err
	}
	ends, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_SEQPACKET|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, 0, err
	}
	defer syscall.Close(ends[1])
	self, err := os.Executable()
	if err == nil {
		pid, err = syscall.ForkExec(self, []string{self, "enter", string(text)}, &syscall.ProcAttr{
			Dir: "/", Env: os.Environ(), Files: []uintptr{2, 2, 2, uintptr(ends[1])},
			Sys: &syscall.SysProcAttr{Cloneflags: syscall.CLONE_NEWPID | syscall.CLONE_NEWNS | syscall.CLONE_NEWIPC, Setsid: true},
		})
	}
	if err != nil {
		syscall.Close(ends[0])
		return nil, 0, err
	}
	return os.NewFile(uintptr(ends[0]), "control"), pid, nil
}

// Close implements [room.Opener].
func (o *opener) Close(ctx context.Context, id string) error {
	if err := o.down(); err != nil {
		return err
	}
	for {
		err := os.Remove(cgroup(id))
		if err == nil || errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", context.Cause(ctx), err)
		case <-time.After(time.Millisecond): // the kernel lets go of processes a moment after their end
		}
	}
}

func (o *opener) down() error {
	if _, err := os.Stat(o.silent); o.silent != "" && err == nil {
		return errSilent
	}
	return nil
}

// memory is the hierarchy of cgroups that bounds memory, if the machine has version 1.
const memory = "/sys/fs/cgroup/memory"

// cgroup is a room's own. Agents of tests that run at once have sessions of the same ID.
func cgroup(id string) string {
	var namespace syscall.Stat_t
	syscall.Stat("/proc/self/ns/pid", &namespace)
	return filepath.Join(memory, fmt.Sprintf("berth-test-%d-%s", namespace.Ino, id))
}

// refuser is an opener that promises to mount checkouts, and cannot.
type refuser struct{ *opener }

// TryCheckout implements [room.Mounter].
func (r refuser) TryCheckout(context.Context, string) (string, error) { return "", r.down() }

// Open implements [room.Opener].
func (r refuser) Open(ctx context.Context, s room.Spec) (control *os.File, pid int, err error) {
	if s.Checkout != nil {
		return nil, 0, fmt.Errorf("a test refuses %s: %w", s.Checkout.Layer, room.ErrNoCheckout)
	}
	return r.opener.Open(ctx, s)
}
