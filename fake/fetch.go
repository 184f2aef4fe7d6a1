package fake

import (
	"context"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
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
	fresh := m.whole && f.MaxAge > 0 && time.Since(m.fetched) < f.MaxAge
	if f.Branch != "" && m.branches[f.Branch] == "" {
		fresh = false
	}
	n.mu.Unlock()
	if fresh {
		return seen, nil
	}
	if err := i.download(ctx, r, cold, f, progress); err != nil {
		return agent.Mirror{}, err
	}
	return i.store(m, cold, f)
}

// seen is the mirror as its agent shows it. The caller holds the node's mu.
func (m *mirror) seen(n *node) agent.Mirror {
	return agent.Mirror{Size: m.size, Free: n.freeBytes()}
}

// download asks the remote, which takes its time.
func (i *inside) download(ctx context.Context, r reply, cold bool, f agent.Fetch, progress func(agent.Progress)) error {
	e := i.container.node.engine
	op, takes := "fetch", e.opts.Latency.Fetch
	if cold {
		op, takes = "clone", e.opts.Latency.Clone
	}
	e.mu.Lock()
	remote := e.remote(f.URL)
	refused, serves := remote.refusal(op, f), remote.serves
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

// store puts what was fetched into the mirror. A clone that does not come so far leaves a mirror that is not whole.
func (i *inside) store(m *mirror, cold bool, f agent.Fetch) (agent.Mirror, error) {
	c, n, e := i.container, i.container.node, i.container.node.engine
	e.mu.Lock()
	r := e.remote(f.URL)
	standard, branches, size := r.repo.DefaultBranch, r.branches, r.repo.Size
	e.mu.Unlock()

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
	m.standard, m.branches = standard, branches
	seen := m.seen(n)
	seen.Cold, seen.Fetched = cold, true
	if f.Branch != "" && m.branches[f.Branch] == "" {
		return seen, fmt.Errorf("%w: %s", agent.ErrBranchNotFound, f.Branch)
	}
	return seen, nil
}
