package fake

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/gitremote"
)

func errDiskFull(op string) error {
	return &agent.GitError{Op: op, Message: "fatal: write error: No space left on device\nfatal: fetch-pack: invalid index-pack output"}
}

func (i *inside) Fetch(ctx context.Context, f agent.Fetch, progress func(agent.Progress)) (agent.Mirror, error) {
	r, err := i.begin(ctx, Fetch, "", 0)
	if err != nil {
		return agent.Mirror{}, err
	}
	m, err := i.fetch(ctx, r, f, progress)
	return m, i.finish(ctx, r, i.explain(err))
}

func (i *inside) fetch(ctx context.Context, r reply, f agent.Fetch, progress func(agent.Progress)) (agent.Mirror, error) {
	n := i.container.node
	m := i.container.mirror
	if err := r.take(ctx, m.turn); err != nil {
		return agent.Mirror{}, err
	}
	defer func() { <-m.turn }()

	n.mu.Lock()
	if err := i.alive(); err != nil {
		n.mu.Unlock()
		return agent.Mirror{}, err
	}
	cold, seen := !m.whole, m.seen(n)
	ask := f.Prove && m.private
	fresh := m.whole && f.MaxAge > 0 && time.Since(m.fetched) < f.MaxAge
	if fresh && f.Branch != "" {
		_, _, err := m.refs.resolve(f.Branch, m.commits)
		fresh = err == nil
	}
	n.mu.Unlock()
	if fresh && !ask {
		return seen, nil
	}
	if fresh {
		if err := i.retry(ctx, progress, func() error { return i.prove(ctx, r, f) }); err != nil {
			return agent.Mirror{}, err
		}
		seen.Proven = true
		return seen, nil
	}
	if err := i.retry(ctx, progress, func() error { return i.download(ctx, r, cold, f, progress) }); err != nil {
		return agent.Mirror{}, err
	}
	return i.store(m, cold, f)
}

// prove asks the remote whether it admits the credential of a fetch.
func (i *inside) prove(ctx context.Context, r reply, f agent.Fetch) error {
	e := i.container.node.engine
	serves, _, refused := e.remotes.request("ls-remote", f)
	if err := r.wait(ctx, serves); err != nil {
		return err
	}
	if err := sleep(ctx, e.opts.Latency.Call, i.done); err != nil {
		return err
	}
	return refused
}

// retry repeats requests to a remote that fails, as the real agent does.
func (i *inside) retry(ctx context.Context, progress func(agent.Progress), try func() error) error {
	passing := func(err error) bool {
		failed, ok := errors.AsType[*agent.GitError](err)
		return ok && gitremote.Passing(failed.Message)
	}
	tell := func(next int, pause time.Duration, _ error) {
		if progress != nil {
			progress(agent.Progress{Phase: gitremote.Again(next, pause), Percent: -1})
		}
	}
	cut := error(nil) // by the context, or by the end of the container
	tries, err := gitremote.Retry(try, passing, tell, func(pause time.Duration) error {
		if i.container.node.engine.opts.Instant {
			pause = 0
		}
		cut = sleep(ctx, pause, i.done)
		return cut
	})
	if cut != nil {
		return cut
	}
	if failed, ok := errors.AsType[*agent.GitError](err); ok && tries > 1 {
		err = &agent.GitError{Op: failed.Op, Message: gitremote.Tried(failed.Message, tries)}
	}
	return err
}

// seen returns the mirror as its agent shows it. The caller holds the node's mu.
func (m *mirror) seen(n *node) agent.Mirror {
	return agent.Mirror{Size: m.size, Free: n.freeBytes(), Private: m.private}
}

// download asks the remote. That takes the time of a clone or a fetch.
func (i *inside) download(ctx context.Context, r reply, cold bool, f agent.Fetch, progress func(agent.Progress)) error {
	e := i.container.node.engine
	op, takes := "fetch", e.opts.Latency.Fetch
	if cold {
		op, takes = "clone", e.opts.Latency.Clone
	}
	if err := e.remotes.check(i.container.spec.Egress, f); err != nil {
		return err
	}
	serves, asks, refused := e.remotes.request(op, f)
	if refused == nil && asks {
		refused = i.disclose(op)
	}
	e.mu.Lock()
	e.count(i.container.spec.Name).fetches++
	e.mu.Unlock()
	if err := r.wait(ctx, serves); err != nil {
		return err
	}
	if refused != nil {
		return refused
	}
	for _, percent := range []int{0, 50, 100} {
		if progress != nil {
			progress(agent.Progress{Phase: "Receiving objects", Percent: percent})
		}
		if percent < 100 {
			if err := sleep(ctx, takes/2, i.done); err != nil {
				return err
			}
		}
	}
	return nil
}

// disclose makes the mirror private before the remote gets a credential.
func (i *inside) disclose(op string) error {
	m, n := i.container.mirror, i.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, s := range i.container.sessions {
		if !s.proven && !m.private {
			return &agent.GitError{Op: op, Message: "sessions that have not proven access to the repository share its container"}
		}
	}
	m.private = true
	return nil
}

// store puts what was fetched into the mirror. A clone that fails before that leaves an incomplete mirror.
func (i *inside) store(m *mirror, cold bool, f agent.Fetch) (agent.Mirror, error) {
	c, n, e := i.container, i.container.node, i.container.node.engine
	refs, size, beside := e.remotes.content(f.URL)

	n.mu.Lock()
	defer n.mu.Unlock()
	if err := i.alive(); err != nil {
		return agent.Mirror{}, err
	}
	if n.freeBytes()+m.size < size || n.full {
		if cold {
			return agent.Mirror{}, errDiskFull("clone")
		}
		return agent.Mirror{}, errDiskFull("fetch")
	}
	c.remote = f.URL
	m.whole, m.fetched, m.size = true, time.Now(), size
	if cold {
		m.commits = map[string]bool{}
	}
	m.refs = refs
	for _, commits := range []map[string]string{refs.branches, refs.tags} {
		for _, id := range commits {
			m.commits[id] = true
		}
	}
	if id := strings.ToLower(f.Branch); slices.Contains(beside, id) {
		m.commits[id] = true
	}
	seen := m.seen(n)
	seen.Cold, seen.Fetched, seen.Proven = cold, true, m.private
	if f.Branch != "" {
		if _, _, err := refs.resolve(f.Branch, m.commits); err != nil {
			return seen, err
		}
	}
	return seen, nil
}
