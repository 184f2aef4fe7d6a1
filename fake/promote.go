package fake

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/leak"
)

// start is what a session began with, beside its commit.
type start struct {
	url, image string
	what       agent.Prepare
	bare       bool
	given      leak.Given // values of its environments and credentials
}

func startOf(s agent.Session) start {
	begun := start{url: s.URL, image: s.Image, what: s.Prepare, bare: s.Bare}
	for _, name := range slices.Sorted(maps.Keys(s.Env)) {
		begun.given.Add("the value of "+name, s.Env[name])
	}
	return begun
}

// errNotPromoted is an agent.ErrNotPromoted with a reason.
func errNotPromoted(format string, args ...any) error {
	return fmt.Errorf("fake: %w: %s", agent.ErrNotPromoted, fmt.Sprintf(format, args...))
}

// Promote copies what a session has in its checkout, which was empty at first, and in the directories of what is prepared.
func (p preparer) Promote(ctx context.Context, r agent.Promotion, progress func(agent.Progress)) (agent.Prepared, error) {
	i := p.by
	reply, err := i.begin(ctx, PromoteLayer, r.Session, i.container.node.engine.opts.Latency.Call)
	if err != nil {
		return agent.Prepared{}, err
	}
	made, err := p.promote(ctx, reply, r, progress)
	if err = i.finish(ctx, reply, i.explain(err)); err != nil {
		return agent.Prepared{}, err
	}
	return made, nil
}

func (p preparer) promote(ctx context.Context, rep reply, r agent.Promotion, progress func(agent.Progress)) (made agent.Prepared, err error) {
	c, n := p.by.container, p.by.container.node
	if err := rep.take(ctx, c.mirror.preparing); err != nil {
		return made, err
	}
	defer func() { <-c.mirror.preparing }()
	begun := time.Now()
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := p.by.alive(); err != nil {
		return made, err
	}
	s, err := c.usable(r.Session)
	if err != nil {
		return made, err
	}
	if made.Unshared = c.sharesCheckouts(); made.Unshared != "" {
		return made, nil
	}
	s.since = time.Now() // it is in use
	if s.begun.bare {
		return made, errNotPromoted("the session began without a commit, or with a snapshot")
	}
	if progress != nil {
		progress(agent.Progress{Phase: "promoting what a session has installed", Percent: -1})
	}
	layer, err := p.layerOf(s, r.Env)
	if err != nil {
		return made, err
	}
	if n.full {
		return made, errors.New("fake: no space left on device")
	}
	m := c.mirror
	m.add(layer)
	made = agent.Prepared{
		Key: shortKey(layer.key), Commit: s.commit, Made: true, Took: max(time.Since(begun), 1), Bytes: preparedSize,
		Size: m.size + int64(len(m.caches))*cacheSize + int64(len(m.prepared))*preparedSize,
	}
	return made, nil
}

// layerOf makes the layer of what a session has, unless it has something of its user's. The caller holds the node's mu.
func (p preparer) layerOf(s *session, common map[string]string) (*prepared, error) {
	m, e := p.by.container.mirror, p.by.container.node.engine
	layer := &prepared{key: p.keyOf(s.begun.url, s.begun.what, s.begun.image, s.commit), commit: s.commit, dirs: make(map[string]*inode)}
	if _, newest, err := m.refs.resolve(s.branch, m.commits); err == nil && s.branch != "" && e.remotes.leads(s.begun.url, s.commit, newest) {
		layer.branch = s.branch
	}
	_, newest, err := m.refs.resolve("", m.commits)
	layer.standard = err == nil && e.remotes.leads(s.begun.url, s.commit, newest)
	f := s.filesOn(p.by.container.node)
	f.mu.Lock()
	defer f.mu.Unlock()
	values, err := f.private(s, common)
	if err != nil {
		return nil, err
	}
	look := &looking{s: s, values: values, left: cmp.Or(s.begun.what.MaxBytes, agent.DefaultPrepareBytes)}
	if n, _, err := f.find(s.workdir(), false); err == nil {
		if layer.checkout, err = look.copy(n, "", true); err != nil {
			return nil, err
		}
	}
	for _, dir := range s.begun.what.Dirs {
		if n, _, err := f.find(path.Join(s.home(), dir), false); err == nil && n.below != nil {
			if layer.dirs[dir], err = look.copy(n, "~/"+dir, false); err != nil {
				return nil, err
			}
		}
	}
	return layer, nil
}

// private returns what must not be in a layer. The caller holds mu.
func (f *Files) private(s *session, common map[string]string) (*leak.Values, error) {
	values, known := new(leak.Values), make(map[string]bool)
	for _, value := range common {
		known[value] = true
	}
	s.begun.given.AddTo(values, known)
	if !s.begun.given.Whole() {
		return nil, errNotPromoted("not all values are known that the session had in its environments")
	}
	for _, dir := range leak.HomeDirs() {
		at, _, err := f.find(path.Join(s.home(), dir), false)
		if err != nil {
			continue
		}
		for _, name := range sortedKeys(at.below) {
			if n := at.below[name]; n.mode.IsRegular() && len(n.data) <= leak.MaxHomeFile {
				name = path.Join(dir, name)
				values.AddFile(fmt.Sprintf("the content of %q", "~/"+name), name, n.data)
			}
		}
	}
	return values, nil
}

// looking copies files, and looks for what must not be in them.
type looking struct {
	s      *session
	values *leak.Values
	left   int64
}

// copy copies a file, and what is below it.
func (l *looking) copy(n *inode, at string, inCheckout bool) (*inode, error) {
	fresh := *n
	fresh.data = bytes.Clone(n.data)
	if l.left -= int64(len(n.data)); l.left < 0 {
		return nil, errNotPromoted("it is larger than MaxBytes")
	}
	what, err := l.values.Find(bytes.NewReader(n.data), make([]byte, 65<<10))
	if err != nil {
		return nil, err
	}
	switch own := l.s.home() + "/"; {
	case what != "":
		return nil, errNotPromoted("%q: it has %s", at, what)
	case inCheckout && n.below == nil && leak.CredentialFile(at):
		return nil, errNotPromoted("%q: its name is that of a file with credentials", at)
	case n.mode&fs.ModeSymlink == 0:
	case l.values.In(n.target) != "":
		return nil, errNotPromoted("%q: its target has %s", at, l.values.In(n.target))
	case strings.HasPrefix(n.target, own) && !strings.HasPrefix(n.target+"/", l.s.workdir()+"/"):
		return nil, errNotPromoted("%q: it leads to a file of the session that is not in the layer", at)
	}
	if n.below != nil {
		fresh.below = make(map[string]*inode)
	}
	for _, name := range sortedKeys(n.below) {
		if what := l.values.In(name); what != "" {
			return nil, errNotPromoted("%q: its name has %s", path.Join(at, "..."), what)
		}
		below, err := l.copy(n.below[name], path.Join(at, name), inCheckout)
		if err != nil {
			return nil, err
		}
		fresh.below[name] = below
	}
	return &fresh, nil
}
