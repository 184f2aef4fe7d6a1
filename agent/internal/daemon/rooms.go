package daemon

import (
	"context"
	"fmt"
	"path/filepath"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/wire"
)

// roomStarts is how many starts of one session may be under way: one that its own processes hold up must not hold up others'.
const roomStarts = 16

// keeper returns what keeps a new session in a room.
func (d *Daemon) keeper(w wire.Session, caches []room.Overlay, checkout *room.Overlay) *room.Keeper {
	spec := d.roomSpec()
	spec.ID, spec.UID, spec.Dir, spec.Caches, spec.Checkout = w.ID, w.UID, d.places.Top(w.ID), caches, checkout
	spares := d.spares
	if w.UID == room.LayerUID {
		spares = nil // no session is to wait because a cache is filled
	}
	return room.NewKeeper(room.KeeperConfig{
		Opener: d.Rooms, Spares: spares, Spec: spec, Settings: d.roomSettings(), Mark: d.table.NextMark, Log: d.Log,
	})
}

// roomSpec is what the rooms of all sessions have in common.
func (d *Daemon) roomSpec() room.Spec {
	limits := d.Limits
	limits.PIDs = int64(d.MaxProcesses) + room.Reserve
	return room.Spec{SessionsDir: d.SessionsDir, MirrorDir: d.MirrorDir, RunDir: filepath.Dir(d.Socket), Limits: limits}
}

func (d *Daemon) roomSettings() room.Settings {
	return room.Settings{MaxProcesses: d.MaxProcesses, MaxFiles: d.MaxFiles}
}

// newSpares returns nil if no rooms can be opened ahead.
func newSpares(d *Daemon) *room.Spares {
	if taker, ok := d.Rooms.(room.Taker); ok {
		return room.NewSpares(taker, d.roomSpec(), d.roomSettings(), d.Log)
	}
	return nil
}

// starter returns what starts a session's processes. Where sessions have rooms, none of their processes runs outside.
func (d *Daemon) starter(s *session) git.Starter {
	if s.room == nil {
		return d.table
	}
	return s.room
}

// bound lets the file system bound the directory of a session, and reports whether it does. A zero limit ends the bound. The meter
// bounds each session in any case, so a failure is no error.
func (d *Daemon) bound(ctx context.Context, id string, limit place.Usage) bool {
	bounder, ok := d.Rooms.(room.Bounder)
	if !ok || d.unbounded.Load() {
		return false
	}
	bounded, err := bounder.Bound(ctx, d.places.Top(id), int64(limit.Bytes), int64(limit.Files))
	switch {
	case err != nil:
		d.Log.Warn("the file system does not bound a session", "session", id, "error", err)
	case !bounded:
		d.unbounded.Store(true) // and never will
	}
	return bounded && err == nil
}

// isolation answers for the sessions that will be opened.
func (d *Daemon) isolation(r *request) error {
	i := wire.Isolation{Rooms: d.Rooms != nil}
	asked, ok := d.Rooms.(interface {
		Isolation(ctx context.Context) (room.Isolation, error)
	})
	switch {
	case !i.Rooms:
		i.Reason = "the container was started without a warden"
	case ok:
		said, err := asked.Isolation(r.Context())
		if err != nil {
			return fmt.Errorf("asking the warden about isolation: %w", err)
		}
		i = wire.Isolation(said)
	}
	i.Copies = d.checkouts.shared(r.Context())
	i.Checkouts = i.Copies == ""
	return writeJSON(r, i)
}
