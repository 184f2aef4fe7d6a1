package daemon

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/berth-go/berth/agent/devcontainer"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/cache"
	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/wire"
)

// preparing makes one prepared layer.
type preparing struct {
	*Daemon
	request wire.Preparation
	refs    *mirror.Refs
	target  mirror.Target
	key     string
	file    devcontainer.File
}

// run makes the prepared layer that a request asks for, unless there is one that sessions use.
func (p *preparing) run(ctx context.Context, progress func(wire.Progress)) (*wire.Prepared, error) {
	d, r := p.Daemon, p.request
	if err := checkPreparation(r); err != nil {
		return nil, &wire.Error{Code: wire.CodeInvalid, Message: err.Error()}
	}
	answer := new(wire.Prepared)
	if answer.Unshared = d.checkouts.shared(ctx); answer.Unshared != "" {
		return answer, nil // no session could use it
	}
	refs, leave, err := d.mirror.Enter(true)
	if err != nil {
		return nil, err
	}
	defer leave()
	if err := d.prepared.turn.enter(ctx); err != nil { // others that want the same layer wait here, and then find it
		return nil, err
	}
	defer d.prepared.turn.leave()
	target, err := d.mirror.Resolve(ctx, refs, r.Branch)
	if err != nil || target.Commit == "" {
		return answer, err
	}
	p.refs, p.target = refs, target
	if p.key, err = d.prepared.key(ctx, &r.Prepare, target.Commit); err != nil {
		return nil, err
	}
	if p.file, err = d.prepared.devcontainer(ctx, &r.Prepare, target.Commit); err != nil {
		return nil, err
	}
	answer.Unsupported, answer.Key = p.file.Unsupported, p.key
	if r.Look || len(p.file.Run)+len(r.Prepare.Run) > 0 {
		err = p.unlessThere(ctx, progress, answer)
	}
	answer.Size = d.mirror.Size() + d.caches.Size() + d.prepared.layers.Size()
	return answer, err
}

func checkPreparation(r wire.Preparation) error {
	if reason := wire.CheckPrepare(r.Prepare); reason != "" {
		return errors.New(reason)
	}
	if len(r.Prepare.Run) == 0 && !r.Prepare.Devcontainer && !r.Look {
		return errors.New("there is no command")
	}
	if r.Prepare.MaxBytes == 0 || r.Prepare.Timeout == 0 {
		return errors.New("a prepared layer has bounds")
	}
	return place.Check(wire.Session{ID: "prepare", UID: place.MinUID, Dir: r.Dir, URL: r.URL})
}

// prepareAgain is after how long a layer that could not be made is tried again.
const prepareAgain = time.Hour

func (p *preparing) unlessThere(ctx context.Context, progress func(wire.Progress), answer *wire.Prepared) error {
	use, err := p.prepared.find(ctx, &p.request.Prepare, p.target)
	if err != nil {
		return err
	}
	if use != nil {
		use.release()
		answer.Commit = use.Commit
		return nil
	}
	if p.request.Look {
		return nil
	}
	name := p.prepared.name(p.key, p.target.Commit)
	if before, ok := p.prepared.failed[name]; ok && time.Since(before.at) <= prepareAgain {
		answer.Failed, answer.Known = before.message, true
		return nil
	}
	progress(wire.Progress{Phase: "preparing the workspace", Percent: -1})
	begun := time.Now()
	answer.Bytes, err = p.make(ctx, name)
	answer.Took = time.Since(begun)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		answer.Failed = gitremote.Line(err.Error(), gitremote.MaxWords)
		if len(p.prepared.failed) >= maxRemembered {
			clear(p.prepared.failed)
		}
		p.prepared.failed[name] = failedPrepare{answer.Failed, time.Now()}
		p.Log.Warn("a workspace was not prepared", "commit", p.target.Commit, "error", answer.Failed)
		return nil
	}
	delete(p.prepared.failed, name)
	answer.Commit, answer.Made = p.target.Commit, true
	p.Log.Info("a workspace is prepared", "commit", p.target.Commit, "bytes", answer.Bytes, "took", answer.Took.Round(time.Millisecond))
	p.prepared.evict(maxPrepared)
	return nil
}

// prepareID is the session in which layers are made.
const prepareID = "prepare"

// make runs the commands in a room of their own, on files of the commit that nobody else has had, and makes the layer of what is new
// there when no process is left in the room.
func (p *preparing) make(ctx context.Context, name string) (bytes int64, err error) {
	ctx, cancel := context.WithTimeoutCause(ctx, p.request.Prepare.Timeout, fmt.Errorf("it took longer than %v", p.request.Prepare.Timeout))
	defer cancel()
	w := wire.Session{ID: prepareID, UID: room.LayerUID, Dir: p.request.Dir, URL: p.request.URL}
	top := p.places.Top(w.ID)
	if _, err := os.Lstat(top); err == nil { // an earlier one could not be cleared
		if err := p.places.Clear(ctx, w.ID, w.UID); err != nil {
			return 0, err
		}
	}
	s, err := p.furnish(ctx, w, p.refs, p.target)
	if err != nil {
		return 0, err
	}
	defer func() {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
		defer cancel()
		err = errors.Join(err, p.clear(ctx, s))
	}()
	limit := p.request.Prepare.MaxBytes + p.target.Tree.Bytes
	env := append(slices.Clone(p.file.Env), p.request.Variables()...)
	for _, args := range slices.Concat(p.file.Run, p.request.Prepare.Run) {
		run := fillRun{session: s, args: args, measured: top, most: limit, over: "it is larger than MaxBytes", env: env, top: top}
		if err := run.do(ctx); err != nil {
			return 0, err
		}
	}
	if err := s.room.Close(ctx); err != nil { // what they have left behind may change the files no more
		return 0, err
	}
	return p.keep(ctx, name, s)
}

// keep makes the layer.
func (p *preparing) keep(ctx context.Context, name string, s *session) (int64, error) {
	tracked, err := p.tracked(ctx)
	if err != nil {
		return 0, err
	}
	standard, err := p.mirror.Resolve(ctx, p.refs, "")
	made := base{
		Commit: p.target.Commit, Branch: p.target.Branch, Dirs: p.request.Prepare.Dirs,
		Default: err == nil && p.target.Branch != "" && standard.Branch == p.target.Branch && standard.Commit == p.target.Commit,
	}
	key, err := json.Marshal(made)
	if err != nil {
		return 0, err
	}
	top := p.places.Top(prepareID)
	parts := []cache.Part{{
		Name: preparedCheckout, Top: top, Dir: filepath.Base(s.place.Workdir), Tracked: tracked, Omit: []string{".git"}, Links: true,
	}}
	for i, dir := range p.request.Prepare.Dirs {
		parts = append(parts, cache.Part{Name: preparedDir(i), Top: filepath.Join(top, "home"), Dir: dir, Links: true})
	}
	return p.prepared.layers.PutParts(name, string(key), parts, p.request.Prepare.MaxBytes)
}

// tracked returns the files of the commit, and the directories above them.
func (p *preparing) tracked(ctx context.Context) (map[string]bool, error) {
	tracked := make(map[string]bool)
	_, err := p.mirror.Files(ctx, p.target.Commit, func(name string) bool {
		tracked[name] = true
		for dir := filepath.Dir(name); dir != "."; dir = filepath.Dir(dir) {
			if _, ok := tracked[dir]; ok {
				break
			}
			tracked[dir] = false
		}
		return false
	})
	return tracked, err
}
