package daemon

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/agent/internal/credential"
	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/tree"
	"github.com/berth-go/berth/agent/internal/wire"
)

// furnish makes a session's room and place. On an error nothing is left of either.
func (d *Daemon) furnish(ctx context.Context, w wire.Session, refs *mirror.Refs, target mirror.Target) (*session, error) {
	f := furnishing{Daemon: d, refs: refs, target: target}
	use, err := f.layerFor(ctx, w)
	if err != nil {
		return nil, err
	}
	over, err := d.checkouts.over(ctx, w, refs, target, use != nil)
	if err != nil || over == nil {
		use = use.drop()
	}
	if err != nil {
		return nil, err
	}
	f.use = use
	s, err := f.session(ctx, w, over)
	if errors.Is(err, room.ErrNoCheckout) {
		d.checkouts.refuse(err)
		f.use = nil
		s, err = f.session(ctx, w, nil)
	}
	return s, err
}

// A furnishing makes a room and a place with a checkout of a target.
type furnishing struct {
	*Daemon
	refs   *mirror.Refs
	target mirror.Target
	use    *preparedUse // nil = there is no prepared layer for the session
}

// session makes a session over the tree of the commit. If over is nil, git writes the files.
func (f *furnishing) session(ctx context.Context, w wire.Session, over *tree.Use) (*session, error) {
	s := &session{Session: w, starts: f.starts, since: time.Now()}
	s.given.env(stringsOf(w.Env))
	f.variables(ctx, s)
	if over != nil {
		s.layers = append(s.layers, over.Release)
	}
	if f.use != nil {
		s.layers = append(s.layers, f.use.release)
	}
	if err := f.places.Reserve(w.ID); err != nil {
		s.release()
		return nil, err
	}
	var err error
	if w.Credentials {
		s.office, err = credential.Open(&f.desk, f.places.Top(w.ID), w.ID, w.UID, s.given.answer)
	}
	if w.SSH && err == nil {
		s.ssh, err = credential.OpenSSH(&f.desk, f.places.Top(w.ID), w.ID, w.UID)
	}
	if err != nil {
		return nil, errors.Join(err, f.clear(ctx, s))
	}
	if f.meter.limit != (place.Usage{}) {
		s.quota = f.bound(ctx, w.ID, f.meter.limit)
	}
	if err := f.make(ctx, s, over); err != nil {
		ctx, cancel := context.WithTimeout(context.Background(), 30*time.Second)
		defer cancel()
		return nil, errors.Join(err, f.clear(ctx, s))
	}
	return s, nil
}

// make makes a reserved place, and opens the room.
func (f *furnishing) make(ctx context.Context, s *session, over *tree.Use) error {
	if f.Rooms == nil {
		return f.write(ctx, s)
	}
	caches, err := f.share(s, f.use)
	if err != nil {
		return err
	}
	prepared, err := f.shareDirs(s)
	if err != nil {
		return err
	}
	caches = append(caches, prepared...)
	if over != nil {
		return f.mount(ctx, s, caches, over)
	}
	s.room, s.starts = f.keeper(s.Session, caches, nil), make(gate, roomStarts)
	opened := make(chan error, 1)
	go func() { opened <- s.room.Open(ctx) }() // while the files are written
	err = f.write(ctx, s)
	if failed := <-opened; failed != nil {
		return failed
	}
	return err
}

// write lets git write the files of the checkout.
func (f *furnishing) write(ctx context.Context, s *session) (err error) {
	s.place, err = f.places.Make(ctx, f.starter(s), s.Session, f.refs, f.target)
	if err != nil && ctx.Err() == nil {
		f.mirror.Suspect() // its objects may be missing
	}
	return err
}

// mount makes the place over a tree, and then opens the room, which mounts it: the kernel wants no changes in the directories of a mount.
func (f *furnishing) mount(ctx context.Context, s *session, caches []room.Overlay, over *tree.Use) (err error) {
	var checkout *room.Overlay
	if s.place, checkout, err = f.places.MakeOver(s.Session, f.refs, f.target, over); err != nil {
		return err
	}
	if err := f.lay(s, checkout); err != nil {
		return err
	}
	s.room, s.starts = f.keeper(s.Session, caches, checkout), make(gate, roomStarts)
	return s.room.Open(ctx)
}
