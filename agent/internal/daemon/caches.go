package daemon

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/wire"
)

// share makes the directories of a session's shared caches, as far as there are layers and its prepared layer has no such directory. The other caches are the session's own: the
// tools make their directories.
func (d *Daemon) share(s *session, use *preparedUse) (caches []room.Overlay, err error) {
	for _, c := range s.Caches {
		if use.covers(c.Dir) {
			continue
		}
		layer, release, ok := d.caches.Use(c.Name)
		if !ok {
			continue
		}
		s.layers = append(s.layers, release)
		dir, err := d.places.ReserveCache(s.Session, c.Dir)
		if err != nil {
			return nil, err
		}
		caches = append(caches, room.Overlay{Dir: dir, Layer: layer})
	}
	return caches, nil
}

// A filler fills caches, one after another: a fill is not to slow down sessions more than it must.
type filler struct {
	turn gate // one place; protects what follows

	last   string // what the last fill looked at
	at     time.Time
	failed map[string]failedFill // by name
}

// A failedFill is not tried again at once, unless something has changed.
type failedFill struct {
	key string
	at  time.Time
}

// fillAgain is after how long a fill that failed is tried again.
const fillAgain = time.Hour

// noRooms is why no cache is shared without a warden.
const noRooms = "sessions have no rooms, so each has caches of its own"

// fill fills the caches whose files have changed in the remote's default branch since they were filled.
func (d *Daemon) fill(ctx context.Context, f wire.Fill, progress func(wire.Progress)) (*wire.Filled, error) {
	if err := checkFill(f); err != nil {
		return nil, &wire.Error{Code: wire.CodeInvalid, Message: err.Error()}
	}
	if d.Rooms == nil {
		return &wire.Filled{Unshared: noRooms}, nil
	}
	if err := d.filler.turn.enter(ctx); err != nil {
		return nil, err
	}
	defer d.filler.turn.leave()
	refs, leave, err := d.mirror.Enter(true)
	if err != nil {
		return nil, err
	}
	defer leave()
	target, err := d.mirror.Resolve(ctx, refs, "") // and no other: users who may push to a branch need not be trusted by all sessions
	if err != nil {
		return nil, err
	}
	answer := new(wire.Filled)
	definition, err := json.Marshal(f.Caches)
	if err != nil {
		return nil, err
	}
	if look := target.Commit + string(definition); target.Commit != "" && (look != d.filler.last || time.Since(d.filler.at) > fillAgain) {
		if err := d.fillAll(ctx, f, refs, target, progress, answer); err != nil {
			return nil, err
		}
		d.filler.last, d.filler.at = look, time.Now()
	}
	if warden, ok := d.Rooms.(interface{ Unshared() string }); ok {
		answer.Unshared = gitremote.Line(warden.Unshared(), gitremote.MaxWords)
	}
	answer.Size = d.mirror.Size() + d.caches.Size() + d.prepared.layers.Size()
	return answer, nil
}

func checkFill(f wire.Fill) error {
	dirs := make([]wire.SharedDir, len(f.Caches))
	for i, c := range f.Caches {
		dirs[i] = c.SharedDir
		if len(c.Fill) == 0 || len(c.Files) == 0 || c.MaxBytes <= 0 {
			return fmt.Errorf("the cache %q cannot be filled", c.Name)
		}
	}
	return place.Check(wire.Session{ID: "fill", UID: place.MinUID, Dir: "fill", URL: f.URL, Caches: dirs})
}

// fillAll fills the caches that need it. It returns an error if it does not know which these are, or ctx has ended.
func (d *Daemon) fillAll(ctx context.Context, f wire.Fill, refs *mirror.Refs, target mirror.Target, progress func(wire.Progress), answer *wire.Filled) error {
	files, err := d.mirror.Files(ctx, target.Commit, func(name string) bool {
		return slices.ContainsFunc(f.Caches, func(c wire.Cache) bool { return matches(c, name) })
	})
	if err != nil {
		return err
	}
	for _, c := range f.Caches {
		key := fillKey(c, files)
		before := d.filler.failed[c.Name]
		if key == "" || key == d.caches.Key(c.Name) || key == before.key && time.Since(before.at) <= fillAgain {
			continue
		}
		progress(wire.Progress{Phase: "filling the cache " + c.Name, Percent: -1})
		begun := time.Now()
		bytes, err := d.fillOne(ctx, c, f, refs, target, key)
		if ctx.Err() != nil {
			return context.Cause(ctx)
		}
		if err != nil {
			d.filler.failed[c.Name] = failedFill{key, time.Now()}
			failed := wire.FillFailed{Name: c.Name, Message: gitremote.Line(err.Error(), gitremote.MaxWords)}
			answer.Failed = append(answer.Failed, failed)
			d.Log.Warn("a cache was not filled", "cache", c.Name, "error", failed.Message)
			continue
		}
		delete(d.filler.failed, c.Name)
		answer.Names = append(answer.Names, c.Name)
		d.Log.Info("a cache is filled", "cache", c.Name, "commit", target.Commit, "bytes", bytes, "took", time.Since(begun).Round(time.Millisecond))
	}
	return nil
}

// matches reports whether a cache is filled by a file of the repository.
func matches(c wire.Cache, name string) bool {
	return slices.ContainsFunc(c.Files, func(pattern string) bool {
		ok, _ := path.Match(pattern, name)
		return ok
	})
}

// fillKey returns what a cache is filled with: its definition, and its files of the default branch. It is "" if there are none.
func fillKey(c wire.Cache, files []mirror.File) string {
	text, err := json.Marshal(c)
	if err != nil {
		return ""
	}
	sum, found := sha256.New(), false
	sum.Write(text)
	for _, file := range files {
		if matches(c, file.Path) {
			found = true
			fmt.Fprintf(sum, "%q %s\n", file.Path, file.ID)
		}
	}
	if !found {
		return ""
	}
	return hex.EncodeToString(sum.Sum(nil))
}

// fillTimeout bounds a fill.
const fillTimeout = 30 * time.Minute

// fillOne fills a cache in a room of its own, on a checkout of its own, and makes a layer of what is in the cache's directory when no
// process is left in the room.
func (d *Daemon) fillOne(ctx context.Context, c wire.Cache, f wire.Fill, refs *mirror.Refs, target mirror.Target, key string) (bytes int64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, fillTimeout, fmt.Errorf("it took longer than %v", fillTimeout))
	defer cancel()
	w := wire.Session{ID: "fill-" + c.Name, UID: room.LayerUID, Dir: "fill", URL: f.URL}
	if _, err := os.Lstat(d.places.Top(w.ID)); err == nil { // an earlier fill could not be cleared
		if err := d.places.Clear(ctx, w.ID, w.UID); err != nil {
			return 0, err
		}
	}
	s, err := d.furnish(ctx, w, refs, target)
	if err != nil {
		return 0, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, d.clear(ctx, s))
	}()
	top := d.places.Top(w.ID)
	run := fillRun{
		session: s, args: c.Fill, env: f.Variables(), top: top,
		measured: path.Join(top, "home"), most: c.MaxBytes, over: "it is larger than Cache.MaxBytes",
	}
	if err := run.do(ctx); err != nil {
		return 0, err
	}
	if err := s.room.Close(ctx); err != nil { // what it has left behind may change the files no more
		return 0, err
	}
	return d.caches.Put(c.Name, key, path.Join(top, "home"), c.Dir, c.MaxBytes)
}

// lastBytes keeps the end of what is written to it.
type lastBytes struct {
	mu   sync.Mutex // protects what follows
	text []byte
}

func (l *lastBytes) Write(b []byte) (int, error) {
	const most = 1 << 10
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = append(l.text, b...)
	if extra := len(l.text) - most; extra > 0 {
		l.text = append(l.text[:0], l.text[extra:]...)
	}
	return len(b), nil
}

func (l *lastBytes) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.TrimSpace(string(l.text))
}
