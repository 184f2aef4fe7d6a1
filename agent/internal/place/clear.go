package place

import (
	"context"
	"errors"

	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/room"
)

// ClearRoom takes away what a session owned that had a room, after the room's end: its place, which is removed in the background. The
// session could write nothing else of the container, and nothing of it runs. The account of the owner of layers stays, as that of the
// mirror: several rooms may be its. first is called in the background before the removal.
func (p *Places) ClearRoom(id string, uid int, first func()) error {
	var err error
	if uid != room.LayerUID {
		err = p.removeAccount(uid)
	}
	return errors.Join(err, p.Trash.PutAfter(first, p.Top(id))) // last, because its work in the background slows down the rest
}

// Clear ends every process of a uid, and then removes all that the uid owned: its place, its files in shared directories at any
// depth, and kernel objects. The session of that ID must take no new command. Clear may be repeated.
func (p *Places) Clear(ctx context.Context, id string, uid int) error {
	if err := proc.KillUser(ctx, uid); err != nil {
		return err
	}
	var failed []error
	if id != "" {
		failed = append(failed, removeAll(p.Root, id, p.Removed))
	}
	for _, dir := range p.Shared {
		failed = append(failed, sweep(dir, uid, p.Removed))
	}
	failed = append(failed, removeIPC(uid), p.removeAccount(uid))
	return errors.Join(failed...)
}
