package warden

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/berth-go/berth/agent/internal/room"
)

// checkSpec returns an error if a room cannot be what a spec says. Links are found later, when the paths are opened.
func checkSpec(s room.Spec) error {
	if !validID(s.ID) {
		return fmt.Errorf("bad ID %q of a room", s.ID)
	}
	dirs := []string{s.SessionsDir, s.MirrorDir, s.RunDir}
	if !s.Spare {
		dirs = append(dirs, s.Dir)
	}
	if s.Spare && (s.UID != 0 || s.Dir != "") {
		return errors.New("a spare room belongs to no session")
	}
	if !s.Spare && s.UID <= 0 {
		return fmt.Errorf("bad uid %d", s.UID)
	}
	for _, dir := range dirs {
		if !filepath.IsAbs(dir) || dir == "/" || filepath.Clean(dir) != dir {
			return fmt.Errorf("bad directory %q", dir)
		}
	}
	if !s.Spare && filepath.Dir(s.Dir) != s.SessionsDir {
		return fmt.Errorf("%q is not in %q", s.Dir, s.SessionsDir)
	}
	if s.Spare && len(s.Caches) > 0 || len(s.Caches) > room.MaxCaches {
		return fmt.Errorf("a room of that kind has no %d caches", len(s.Caches))
	}
	for _, c := range s.Caches {
		if !inside(c.Dir, s.Dir) || !inside(c.Layer, s.MirrorDir) || c.Below != "" {
			return fmt.Errorf("bad cache %q of %q", c.Dir, c.Layer)
		}
	}
	if c := s.Checkout; c != nil && (s.Spare || !inside(c.Dir, s.Dir) || !inside(c.Layer, s.SessionsDir) || inside(c.Layer, s.Dir) ||
		c.Below != "" && !inside(c.Below, s.MirrorDir)) {
		return fmt.Errorf("bad checkout %q of %q", c.Dir, c.Layer)
	}
	l := s.Limits
	if min(l.MemoryBytes, l.PIDs, int64(l.CPUWeight), l.TmpBytes, l.VarTmpBytes, l.ShmBytes, l.Inodes, int64(l.PTYs)) < 0 {
		return errors.New("a limit is negative")
	}
	if l.CPUWeight > maxWeight {
		return fmt.Errorf("a weight of %d is more than %d", l.CPUWeight, maxWeight)
	}
	return nil
}

// checkCaps returns an error if the container has capabilities that the warden cannot give to a room.
func (p *profile) checkCaps() error {
	own, err := readStatus(os.Getpid())
	if err != nil {
		return err
	}
	bounding, err := own.caps("CapBnd")
	if err != nil {
		return err
	}
	if lacks := (p.Bounding | p.Permitted | p.Inheritable) &^ bounding; lacks != 0 {
		return fmt.Errorf("the container has capabilities that the warden lacks: %#x", lacks)
	}
	return nil
}

// inside reports whether a clean path lies below a directory.
func inside(path, dir string) bool {
	return filepath.Clean(path) == path && strings.HasPrefix(path, dir+"/")
}
