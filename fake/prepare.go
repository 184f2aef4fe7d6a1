package fake

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"net"
	"os"
	"path"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/devcontainer"
	"github.com/berth-go/berth/store"
)

// prepared is a prepared layer of a repository. It does not change.
type prepared struct {
	key, commit, branch string
	standard            bool              // the default branch led to commit
	checkout            *inode            // what the commands have left in the checkout; nil = nothing
	dirs                map[string]*inode // below the home
}

// failedPrepare is a layer that could not be made.
type failedPrepare struct {
	message string
	at      time.Time
}

// preparedSize is what a prepared layer takes on the disk, and preparedLayers how many stay.
const (
	preparedSize   = 10 << 20
	preparedLayers = 3
	preparerUID    = 9997
)

// preparer makes prepared layers in a container.
type preparer struct{ by *inside }

// base returns the commit that a layer was made of. That of nil is "".
func (p *prepared) base() string {
	if p == nil {
		return ""
	}
	return p.commit
}

// lay puts the files of a layer into those of a new session.
func (p *prepared) lay(f *Files, s *session) {
	if p == nil {
		return
	}
	p.checkout.merge(f.mkdirAll(s.workdir()))
	for dir, n := range p.dirs {
		n.merge(f.mkdirAll(s.home() + "/" + dir))
	}
}

// merge copies what is below a directory into another, which is empty.
func (n *inode) merge(into *inode) {
	if n == nil || into == nil {
		return
	}
	for name, one := range n.below {
		fresh := *one
		fresh.data = slices.Clone(one.data)
		if one.below != nil {
			fresh.below = make(map[string]*inode)
			one.merge(&fresh)
		}
		into.below[name] = &fresh
	}
}

// sharesCheckouts returns why the sessions of a container cannot begin with a prepared layer, or "".
func (c *container) sharesCheckouts() string {
	if c.rooms.Level != store.IsolationRooms {
		return "the container has no warden that mounts checkouts"
	}
	return c.node.engine.opts.NoSharedCheckouts
}

// find returns the layer for a commit, or nil. The caller holds the node's mu.
func (p preparer) find(url string, what agent.Prepare, image, branch, commit string) *prepared {
	e, key := p.by.container.node.engine, p.keyOf(url, what, image, commit)
	for _, one := range slices.Backward(p.by.container.mirror.prepared) {
		follows := one.standard || one.branch != "" && one.branch == branch
		if one.key == key && (one.commit == commit || follows && e.remotes.leads(url, one.commit, commit)) {
			return one
		}
	}
	return nil
}

// keyOf returns what decides whether the commands must run again.
func (p preparer) keyOf(url string, what agent.Prepare, image, commit string) string {
	what.MaxBytes, what.Timeout, what.Wait = 0, 0, 0
	if what.Devcontainer {
		what.Run = slices.Concat(p.by.container.node.engine.remotes.devcontainer(url, what).Run, what.Run)
		what.Devcontainer = false
	}
	c := p.by.container
	return fmt.Sprintf("%+v %s %s %s", what, image, c.spec.Image, c.node.engine.remotes.locksOf(url, commit))
}

// Prepare runs the commands as Run does, in files of their own. Each commit is taken to have the files that decide, and PushLocks alone
// to change them.
func (p preparer) Prepare(ctx context.Context, r agent.Preparation, progress func(agent.Progress)) (agent.Prepared, error) {
	i := p.by
	reply, err := i.begin(ctx, PrepareLayer, "", i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return agent.Prepared{}, err
	}
	made, err := p.prepare(ctx, reply, r, progress)
	if err = i.finish(ctx, reply, i.explain(err)); err != nil {
		return agent.Prepared{}, err
	}
	return made, nil
}

func (p preparer) prepare(ctx context.Context, rep reply, r agent.Preparation, progress func(agent.Progress)) (made agent.Prepared, err error) {
	if reason := r.Prepare.Check(); reason != "" || r.Prepare.IsZero() && !r.Look {
		return made, errors.New("fake: " + cmp.Or(reason, "nothing is to be prepared"))
	}
	c := p.by.container
	if made.Unshared = c.sharesCheckouts(); made.Unshared != "" {
		return made, nil
	}
	if err := rep.take(ctx, c.mirror.preparing); err != nil {
		return made, err
	}
	defer func() { <-c.mirror.preparing }()
	file := p.by.container.node.engine.remotes.devcontainer(r.URL, r.Prepare)
	r.Prepare.Run = slices.Concat(file.Run, r.Prepare.Run)
	if len(r.Prepare.Run) == 0 && !r.Look {
		made.Unsupported = file.Unsupported
		return made, nil
	}
	env := environOf(file)
	maps.Copy(env, r.Env)
	r.Env = env
	r.Prepare.Devcontainer = false // Run has its commands
	layer, made, err := p.look(r)
	made.Unsupported = file.Unsupported
	if err != nil || layer == nil || r.Look {
		return made, err
	}
	if progress != nil {
		progress(agent.Progress{Phase: "preparing the workspace", Percent: -1})
	}
	begun := time.Now()
	failed, err := p.run(ctx, rep, r, layer)
	if err != nil {
		return agent.Prepared{}, err
	}
	made.Took = max(time.Since(begun), 1)
	p.keep(layer, failed, &made)
	return made, nil
}

// devcontainer returns what the devcontainer.json of a remote says, if it is to be read.
func (r *remotes) devcontainer(url string, what agent.Prepare) (f devcontainer.File) {
	r.mu.Lock()
	text := r.of(url).repo.Devcontainer
	r.mu.Unlock()
	if !what.Devcontainer || text == "" {
		return f
	}
	f, err := devcontainer.Parse([]byte(text))
	if err != nil {
		f.Unsupported = []string{err.Error()}
	}
	return f
}

func environOf(f devcontainer.File) map[string]string {
	env := make(map[string]string)
	for _, pair := range f.Env {
		if key, value, ok := cutPair(pair); ok {
			env[key] = value
		}
	}
	return env
}

// look returns a layer to be made, or nil and what became of it already.
func (p preparer) look(r agent.Preparation) (layer *prepared, made agent.Prepared, err error) {
	c, n := p.by.container, p.by.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := p.by.alive(); err != nil {
		return nil, made, err
	}
	m := c.mirror
	if !m.whole {
		return nil, made, errors.New("fake: nothing was fetched yet")
	}
	branch, commit, err := m.refs.resolve(r.Branch, m.commits)
	if err != nil {
		return nil, made, err
	}
	made.Size = m.size + int64(len(m.caches))*cacheSize + int64(len(m.prepared))*preparedSize
	key := p.keyOf(r.URL, r.Prepare, r.Image, commit)
	made.Key = shortKey(key)
	m.url = r.URL
	if m.keys == nil || len(m.keys) > 1000 {
		m.keys = make(map[string]string)
	}
	m.keys[made.Key] = key
	if there := p.find(r.URL, r.Prepare, r.Image, branch, commit); there != nil {
		made.Commit = there.commit
		return nil, made, nil
	}
	layer = &prepared{key: key, commit: commit, branch: branch, standard: branch == m.refs.standard}
	if before, ok := m.failed[layer.name()]; ok && !r.Look && time.Since(before.at) <= refill {
		made.Failed = &agent.PrepareError{Message: before.message, Known: true}
		return nil, made, nil
	}
	return layer, made, nil
}

// name tells a layer from others.
func (p *prepared) name() string { return p.commit + " " + p.key }

// run runs the commands, and fills the layer. failed says why it was not made. The error is that of the call.
func (p preparer) run(ctx context.Context, rep reply, r agent.Preparation, layer *prepared) (failed string, err error) {
	i, n := p.by, p.by.container.node
	e := n.engine
	s := &session{id: "prepare", dir: r.Dir, commit: layer.commit, uid: preparerUID, env: r.Env}
	files := newFiles(s, nil)
	timeout := cmp.Or(r.Prepare.Timeout, agent.DefaultPrepareTimeout)
	tooLong := fmt.Errorf("it took longer than %v", timeout)
	within, cancel := context.WithTimeoutCause(ctx, timeout, tooLong)
	defer cancel()
	err = sleep(within, e.opts.Latency.Prepare, i.done)
	for _, args := range r.Prepare.Run {
		if err != nil {
			break
		}
		var code int
		if code, err = p.command(within, s, files, args); err == nil && code != 0 {
			return fmt.Sprintf("%s: exit status %d", args[0], code), nil
		}
	}
	rep.woken()
	switch {
	case errors.Is(err, tooLong) && ctx.Err() == nil:
		return tooLong.Error(), nil
	case err != nil:
		return "", err
	}
	files.mu.Lock()
	defer files.mu.Unlock()
	layer.checkout, _, _ = files.find(s.workdir(), false)
	layer.dirs = make(map[string]*inode)
	for _, dir := range r.Prepare.Dirs {
		if n, _, err := files.find(path.Join(s.home(), dir), false); err == nil && n.below != nil {
			layer.dirs[dir] = n
		}
	}
	return "", nil
}

// command runs one command. A function that does not return when it is ended is left alone.
func (p preparer) command(ctx context.Context, s *session, files *Files, args []string) (code int, err error) {
	e := p.by.container.node.engine
	if e.opts.Run == nil {
		return 0, nil
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	ended := make(chan int, 1)
	c := Command{
		Container: p.by.container.spec.Name, Session: s.id, UID: s.uid, Args: args, Env: s.environ(nil), Dir: s.workdir(),
		Stdin: strings.NewReader(""), Stdout: io.Discard, Stderr: io.Discard, Files: files,
		Signals: func() <-chan os.Signal { return nil },
		Listen:  func(int) (net.Listener, error) { return nil, syscall.EACCES },
	}
	e.running.Go(func() { ended <- e.opts.Run(ctx, c) })
	select {
	case code = <-ended:
		return code, nil
	case <-ctx.Done():
		return 0, context.Cause(ctx)
	case <-p.by.container.dead:
		return 0, p.by.container.gone()
	case <-p.by.done:
		return 0, errCut
	}
}

// keep records what became of a layer.
func (p preparer) keep(layer *prepared, failed string, made *agent.Prepared) {
	n := p.by.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	m := p.by.container.mirror
	if n.full && failed == "" {
		failed = "no space left on device"
	}
	if failed != "" {
		if m.failed == nil {
			m.failed = make(map[string]failedPrepare)
		}
		m.failed[layer.name()] = failedPrepare{failed, time.Now()}
		made.Failed = &agent.PrepareError{Message: failed}
		return
	}
	m.prepared = append(m.prepared, layer)
	m.prepared = m.prepared[max(0, len(m.prepared)-preparedLayers):]
	made.Commit, made.Made, made.Bytes, made.Size = layer.commit, true, preparedSize, made.Size+preparedSize
}
