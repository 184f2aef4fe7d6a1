package daemon

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/layer"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/wire"
	"github.com/berth-go/berth/agent/internal/work"
	"github.com/berth-go/berth/agent/leak"
)

// promoting makes what a session has added to its checkout the prepared layer of its commit.
type promoting struct {
	*Daemon
	request wire.Promotion
	session *session
	free    func() // lets the session be closed
}

// notPromoted is the error for what must not be in a layer.
func notPromoted(format string, args ...any) error {
	return &wire.Error{Code: wire.CodeNotPromoted, Message: fmt.Sprintf(format, args...)}
}

func (p *promoting) run(ctx context.Context, progress func(wire.Progress)) (*wire.Prepared, error) {
	d, answer := p.Daemon, new(wire.Prepared)
	if _, err := d.sessions.get(p.request.Session); err != nil {
		return nil, err
	}
	if answer.Unshared = d.checkouts.shared(ctx); answer.Unshared != "" {
		return answer, nil // no session could use it
	}
	if err := d.prepared.turn.enter(ctx); err != nil {
		return nil, err
	}
	defer d.prepared.turn.leave()
	s, err := d.sessions.enter(p.request.Session)
	if err != nil {
		return nil, err
	}
	defer d.sessions.leave(s, true)
	p.session, p.free = s, sync.OnceFunc(s.starting.Done)
	defer p.free()
	commit := s.place.Checkout.Commit
	if commit == "" || s.Prepare == nil {
		return nil, notPromoted("the session began without a commit, or with a snapshot")
	}
	key, err := d.prepared.key(ctx, s.Prepare, commit)
	if err != nil {
		return nil, err
	}
	made, err := p.base(ctx, commit)
	if err != nil {
		return nil, err
	}
	progress(wire.Progress{Phase: "promoting what a session has installed", Percent: -1})
	begun, name := time.Now(), d.prepared.name(key, commit)
	answer.Bytes, err = p.make(ctx, name, made)
	answer.Took = time.Since(begun)
	if err != nil {
		return nil, err
	}
	delete(d.prepared.failed, name)
	answer.Commit, answer.Made, answer.Key = commit, true, key
	d.Log.Info("what a session has installed is a prepared layer", "session", s.ID, "commit", commit, "bytes", answer.Bytes, "took", answer.Took.Round(time.Millisecond))
	d.prepared.evict(maxPrepared)
	answer.Size = d.mirror.Size() + d.caches.Size() + d.prepared.layers.Size()
	return answer, nil
}

// base says for which sessions the layer is. Unlike the commands of a Prepare, a session may have taken so long that its branch has gone on.
func (p *promoting) base(ctx context.Context, commit string) (base, error) {
	s := p.session
	made := base{Commit: commit, Dirs: s.Prepare.Dirs}
	refs, leave, err := p.mirror.Enter(!s.Unproven)
	if err != nil {
		return made, err
	}
	defer leave()
	follows := func(branch string) bool {
		newest, err := p.mirror.Resolve(ctx, refs, branch)
		if err != nil || newest.Branch == "" {
			return false
		}
		leads, err := p.prepared.leadsTo(ctx, commit, newest.Commit)
		return err == nil && leads
	}
	if branch := s.place.Checkout.Branch; branch != "" && follows(branch) {
		made.Branch = branch
	}
	made.Default = follows("")
	return made, ctx.Err()
}

// make makes the layer: it is packed in the session's room, unpacked aside, looked at, and only then there for others.
func (p *promoting) make(ctx context.Context, name string, made base) (int64, error) {
	timeout := p.session.Prepare.Timeout
	ctx, cancel := context.WithTimeoutCause(ctx, timeout, notPromoted("it took longer than %v", timeout))
	defer cancel()
	key, err := json.Marshal(made)
	if err != nil {
		return 0, err
	}
	n, err := p.prepared.layers.PutMade(name, string(key), func(to string) (int64, error) {
		if err := p.pack(ctx, to); err != nil {
			return 0, err
		}
		values, err := p.values()
		if err != nil {
			return 0, err
		}
		p.free() // the rest needs nothing of the session
		return p.look(ctx, to, values)
	})
	if ctx.Err() != nil {
		return 0, context.Cause(ctx)
	}
	return n, err
}

// pack lets the agent's program pack what the session has added, and unpacks it. The session could replace what the program says, which is
// taken as a stream of anybody.
func (p *promoting) pack(ctx context.Context, to string) error {
	s := p.session
	text, err := p.spec(ctx)
	if err != nil {
		return err
	}
	streams, err := openStreams(wire.Start{Stdin: true, Stdout: true, Stderr: "pipe"}, s.UID)
	if err != nil {
		return err
	}
	defer streams.closeOurs()
	packer, err := p.starter(s).Start(proc.Spec{Args: []string{p.Program, "pack-added"}, Dir: "/", UID: s.UID, Files: streams.child})
	streams.closeChild()
	if err != nil {
		return err
	}
	defer p.end(packer)
	defer context.AfterFunc(ctx, streams.closeOurs)()
	words := make(chan string, 1)
	go func() {
		streams.in.Write(text)
		streams.in.Close()
	}()
	go func() {
		said, _ := io.ReadAll(io.LimitReader(streams.errs, 4096))
		words <- string(said)
		io.Copy(io.Discard, streams.errs)
	}()
	o := layer.Options{Plain: true, Owner: &layer.Owner{UID: room.LayerUID, GID: room.LayerUID}, Limits: layer.Limits{Bytes: s.Prepare.MaxBytes}}
	_, failed := layer.Unpack(ctx, to, streams.out, o)
	if failed == nil {
		<-packer.Done()
	}
	select {
	case <-packer.Done():
	case <-time.After(time.Second): // the stream was refused before its end
		return notPromoted("%s", failed)
	}
	switch code, signal := packer.Exit(); {
	case signal != 0:
		if _, err := p.sessions.get(s.ID); err != nil {
			return err
		}
		return notPromoted("signal %d has ended the program that packs it", signal)
	case code != 0:
		return notPromoted("%s", strings.TrimPrefix(strings.TrimSpace(<-words), "berth-agent: "))
	case failed != nil:
		return notPromoted("%s", failed)
	}
	return nil
}

// spec says what is packed.
func (p *promoting) spec(ctx context.Context) ([]byte, error) {
	s := p.session
	files, err := p.mirror.Files(ctx, s.place.Checkout.Commit, func(name string) bool { return decides(s.Prepare.Files, name) })
	if err != nil {
		return nil, err
	}
	spec := work.Added{
		Checkout: s.place.Workdir, Index: filepath.Join(p.places.Top(s.ID), place.IndexName), Commit: s.place.Checkout.Commit,
		Home: filepath.Join(p.places.Top(s.ID), "home"), Dirs: s.Prepare.Dirs, Bytes: s.Prepare.MaxBytes,
	}
	for _, f := range files {
		spec.Files = append(spec.Files, f.Path)
	}
	return json.Marshal(spec)
}

// end ends the program that packs. The session's processes continue.
func (p *promoting) end(packer *proc.Process) {
	select {
	case <-packer.Done():
	default:
		ctx, cancel := context.WithTimeout(context.Background(), time.Minute)
		defer cancel()
		if err := proc.Kill(ctx, packer.Mark, p.session.UID); err != nil {
			p.Log.Error("the program that packs what a session has installed cannot be ended", "session", p.session.ID, "error", err)
			return
		}
		<-packer.Done()
	}
	if _, signal := packer.Exit(); signal != 0 {
		resume(p.Daemon, p.session, "pack-added")
	}
}

// values returns what must not be in the layer.
func (p *promoting) values() (*leak.Values, error) {
	common, values := make(map[string]bool), new(leak.Values)
	for _, pair := range stringsOf(p.request.Env) {
		_, value, _ := strings.Cut(pair, "=")
		common[value] = true
	}
	if !p.session.given.addTo(values, common) {
		return nil, notPromoted("the session had so many values in its environments that not all of them are known any more")
	}
	home, err := os.OpenRoot(filepath.Join(p.places.Top(p.session.ID), "home"))
	if err != nil {
		return nil, notPromoted("its home cannot be looked at: %s", err)
	}
	defer home.Close()
	for _, dir := range leak.HomeDirs() {
		addHome(values, home, dir)
	}
	return values, nil
}

// look returns an error that names the file if the layer has what is its user's, and otherwise its size on the disk.
func (p *promoting) look(ctx context.Context, to string, values *leak.Values) (bytes int64, err error) {
	if err := os.Chown(to, 0, 0); err != nil {
		return 0, err
	}
	buf := make([]byte, 256<<10)
	err = filepath.WalkDir(to, func(at string, entry os.DirEntry, err error) error {
		if err != nil || ctx.Err() != nil {
			return errors.Join(err, context.Cause(ctx))
		}
		info, err := entry.Info()
		if err != nil {
			return err
		}
		const block = 4096
		bytes += (max(info.Size(), 1) + block - 1) / block * block
		what, err := p.leaks(to, at, info, values, buf)
		if err != nil || what == "" {
			return err
		}
		return notPromoted("%s: %s", git.Scrub(fmt.Sprintf("%.300q", p.shown(to, at, values))), what)
	})
	if err == nil && bytes > p.session.Prepare.MaxBytes {
		err = notPromoted("it is larger than MaxBytes")
	}
	return bytes, err
}

// shown is the path of a file of the layer as its session knows it.
func (p *promoting) shown(to, at string, values *leak.Values) string {
	name, _ := filepath.Rel(to, at)
	if values.In(name) != "" { // those above it have none
		name = filepath.Dir(name) + "/..."
	}
	part, below, _ := strings.Cut(name, "/")
	for i, dir := range p.session.Prepare.Dirs {
		if part == preparedDir(i) {
			return filepath.Join("~", dir, below)
		}
	}
	return below
}

// leaks returns what of its user's a file has; "" = nothing.
func (p *promoting) leaks(to, at string, info os.FileInfo, values *leak.Values, buf []byte) (what string, err error) {
	name, _ := filepath.Rel(to, at)
	if what := values.In(name); what != "" {
		return "its name has " + what, nil
	}
	part, below, _ := strings.Cut(name, "/")
	if part == preparedCheckout && !info.IsDir() && leak.CredentialFile(below) {
		return "its name is that of a file with credentials", nil
	}
	switch {
	case info.Mode().IsRegular():
		f, err := os.Open(at)
		if err != nil {
			return "", err
		}
		defer f.Close()
		if what, err = values.Find(f, buf); what != "" {
			what = "it has " + what
		}
		return what, err
	case info.Mode()&os.ModeSymlink != 0:
		target, err := os.Readlink(at)
		if what := values.In(target); what != "" {
			return "its target has " + what, err
		}
		if own := p.places.Top(p.session.ID) + "/"; strings.HasPrefix(target, own) && !p.within(target) {
			return "it leads to a file of the session that is not in the layer", err
		}
		return "", err
	}
	return "", nil
}

// within reports whether a path of the session is in what the layer has.
func (p *promoting) within(target string) bool {
	in := []string{p.session.place.Workdir}
	for _, dir := range p.session.Prepare.Dirs {
		in = append(in, filepath.Join(p.places.Top(p.session.ID), "home", dir))
	}
	for _, dir := range in {
		if target == dir || strings.HasPrefix(target, dir+"/") {
			return true
		}
	}
	return false
}

// addHome adds the files in a directory of a home that hold settings. The home is the session's, which may have put anything there.
func addHome(values *leak.Values, home *os.Root, dir string) {
	d, err := home.OpenFile(dir, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return
	}
	entries, _ := d.ReadDir(leak.MostHomeFiles)
	d.Close()
	for _, e := range entries {
		name := filepath.Join(dir, e.Name())
		if !e.Type().IsRegular() {
			continue
		}
		f, err := home.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
		if err != nil {
			continue
		}
		if info, err := f.Stat(); err == nil && info.Mode().IsRegular() && info.Size() <= leak.MaxHomeFile {
			var content bytes.Buffer
			io.Copy(&content, io.LimitReader(f, leak.MaxHomeFile))
			values.AddFile(fmt.Sprintf("the content of %.200q", "~/"+name), name, content.Bytes())
		}
		f.Close()
	}
}
