package place

import (
	"context"
	"errors"

	"github.com/berth-go/berth/agent/internal/proc"
)

// Clear ends every process of a uid, then removes all that it owned: its place, what is in shared directories at any
// depth, and kernel objects. The session of that ID must take no new command. Doing it again finds nothing to do.
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
