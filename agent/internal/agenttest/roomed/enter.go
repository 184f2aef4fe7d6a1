package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"syscall"

	"github.com/berth-go/berth/agent/internal/room"
)

// stage is what the first process of a room is told.
type stage struct {
	room.Spec
	Program string
	Cgroup  string // "" = the memory is not bounded
}

// enter gives the room a /proc of its own, hides the other sessions, and becomes the init. It does no more than the tests need.
func enter(text string) error {
	var s stage
	if err := json.Unmarshal([]byte(text), &s); err != nil {
		return err
	}
	if err := s.bound(); err != nil {
		return err
	}
	if err := syscall.Mount("", "/", "", syscall.MS_REC|syscall.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("mount /: %w", err)
	}
	own, err := syscall.Open(s.Dir, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("%s: %w", s.Dir, err)
	}
	for _, m := range []struct{ source, target, kind, data string }{
		{"proc", "/proc", "proc", ""},
		{"tmpfs", s.SessionsDir, "tmpfs", "size=64k,mode=711"},
		{"tmpfs", s.RunDir, "tmpfs", "size=64k,mode=700"},
	} {
		if err := syscall.Mount(m.source, m.target, m.kind, syscall.MS_NOSUID|syscall.MS_NODEV, m.data); err != nil {
			return fmt.Errorf("mount %s: %w", m.target, err)
		}
	}
	if err := os.Mkdir(s.Dir, 0o700); err != nil {
		return err
	}
	if err := syscall.Mount(fmt.Sprintf("/proc/self/fd/%d", own), s.Dir, "", syscall.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount %s: %w", s.Dir, err)
	}
	if s.Cgroup != "" {
		if err := syscall.Mount(s.Cgroup, memory, "", syscall.MS_BIND, ""); err != nil {
			return fmt.Errorf("mount %s: %w", s.Cgroup, err)
		}
	}
	return syscall.Exec(s.Program, []string{"berth-agent", "init"}, []string{"GORACE=halt_on_error=1 atexit_sleep_ms=0"})
}

// bound moves this process into a memory cgroup of its own, if the room's memory has a limit.
func (s *stage) bound() error {
	if s.Cgroup == "" {
		return nil
	}
	if err := os.Mkdir(s.Cgroup, 0o755); err != nil && !os.IsExist(err) {
		return err
	}
	return errors.Join(
		os.WriteFile(filepath.Join(s.Cgroup, "memory.limit_in_bytes"), []byte(strconv.FormatInt(s.Limits.MemoryBytes, 10)), 0),
		os.WriteFile(filepath.Join(s.Cgroup, "cgroup.procs"), []byte("0"), 0))
}
