package place

import (
	"context"
	"errors"
	"os"
	"path/filepath"

	"github.com/berth-go/berth/agent/internal/proc"
)

// Clear ends every process of a uid, then removes all that it owned. The session of that ID must take no new command.
// Doing it again finds nothing to do.
func (p *Places) Clear(ctx context.Context, id string, uid int) error {
	if err := proc.KillUser(ctx, uid); err != nil {
		return err
	}
	var failed []error
	if id != "" {
		failed = append(failed, removeAll(p.Root, id))
	}
	for _, dir := range p.Shared {
		failed = append(failed, sweep(dir, uid))
	}
	failed = append(failed, removeIPC(uid), p.removeAccount(uid))
	return errors.Join(failed...)
}

// Writable finds the directories near the root that any uid may write in, so that Clear looks there too.
func Writable(usual ...string) []string {
	dirs := usual
	seen := make(map[string]bool)
	for _, d := range usual {
		seen[d] = true
	}
	for _, pattern := range []string{"/*", "/[^ps]*/*"} { // not in /proc and /sys
		found, _ := filepath.Glob(pattern)
		for _, d := range found {
			info, err := os.Lstat(d)
			if err == nil && info.IsDir() && info.Mode().Perm()&0o002 != 0 && !seen[d] {
				seen[d] = true
				dirs = append(dirs, d)
			}
		}
	}
	return dirs
}
