package daemon

import (
	"context"
	"os"
	"path/filepath"
	"slices"

	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/wire"
)

// layerFor returns the prepared layer for a new session; nil if it starts without one. That no layer can be looked for is no error of
// the session.
func (f *furnishing) layerFor(ctx context.Context, w wire.Session) (*preparedUse, error) {
	if w.Prepare == nil || f.target.Commit == "" || f.checkouts.shared(ctx) != "" {
		return nil, nil
	}
	use, err := f.prepared.find(ctx, w.Prepare, f.target)
	if err == nil || ctx.Err() != nil {
		return use, err
	}
	f.Log.Warn("a session starts without a prepared layer", "session", w.ID, "error", err)
	return nil, nil
}

// drop lets go of a layer that is not used after all. It returns nil.
func (u *preparedUse) drop() *preparedUse {
	if u != nil {
		u.release()
	}
	return nil
}

// covers reports whether a layer has a directory of the home that is the given one, lies in it, or has it.
func (u *preparedUse) covers(dir string) bool {
	return u != nil && slices.ContainsFunc(u.Dirs, func(own string) bool { return overlaps(own, dir) })
}

// has reports whether a layer has a part.
func (u *preparedUse) has(name string) bool {
	info, err := os.Lstat(filepath.Join(u.dir, name))
	return err == nil && info.IsDir()
}

// shareDirs makes the directories that a session has from its prepared layer outside of its checkout.
func (f *furnishing) shareDirs(s *session) (dirs []room.Overlay, err error) {
	if f.use == nil {
		return nil, nil
	}
	for i, dir := range f.use.Dirs {
		name := preparedDir(i)
		if !f.use.has(name) {
			continue // the commands have not made it
		}
		at, err := f.places.ReserveCache(s.Session, dir)
		if err != nil {
			return nil, err
		}
		dirs = append(dirs, room.Overlay{Dir: at, Layer: filepath.Join(f.use.dir, name)})
	}
	return dirs, nil
}

// lay puts the prepared layer below a checkout that is to be mounted.
func (f *furnishing) lay(s *session, checkout *room.Overlay) error {
	if f.use == nil {
		return nil
	}
	s.place.Checkout.Prepared = f.use.Commit
	if !f.use.has(preparedCheckout) {
		return nil
	}
	checkout.Below = filepath.Join(f.use.dir, preparedCheckout)
	return os.Mkdir(filepath.Join(checkout.Dir, room.Below), 0o700)
}
