package fake

import (
	"bytes"
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/agent"
)

// keptWork is the work of a session that is kept beside a mirror.
type keptWork struct {
	agent.Kept
	session string
	until   time.Time
	packed  []byte
}

// keeper keeps the work of sessions beside the mirror of a container.
type keeper struct{ by *inside }

// KeepWork implements [orchestrator.Inside].
func (k keeper) KeepWork(ctx context.Context, w agent.Keep) (agent.Kept, error) {
	i := k.by
	r, err := i.begin(ctx, KeepWork, w.Session, i.container.node.engine.opts.Latency.Open)
	if err != nil {
		return agent.Kept{}, err
	}
	kept, err := k.keepWork(w)
	if err = i.finish(ctx, r, err); err != nil {
		return agent.Kept{}, err
	}
	return kept, nil
}

func (k keeper) keepWork(w agent.Keep) (agent.Kept, error) {
	s, git, err := k.worker(w.Session)
	if err != nil {
		return agent.Kept{}, err
	}
	n, m := k.by.container.node, k.by.container.mirror
	var packed bytes.Buffer
	if err := s.packWork(&packed, git.base, git.packedGit); err != nil {
		return agent.Kept{}, err
	}
	size := int64(packed.Len())
	n.mu.Lock()
	defer n.mu.Unlock()
	switch {
	case n.full:
		return agent.Kept{}, errDiskFull("keep")
	case size > w.Bytes:
		return agent.Kept{}, fmt.Errorf("fake: its work cannot be kept: it has more than %d bytes", w.Bytes)
	}
	one := keptWork{agent.Kept{Branch: w.Branch, Commit: git.base, Bytes: size}, w.Session, time.Now().Add(w.Age), packed.Bytes()}
	m.kept = slices.DeleteFunc(m.kept, func(o keptWork) bool { return o.session == w.Session || time.Now().After(o.until) })
	m.kept = append(m.kept, one)
	var bytes int64
	for at, o := range slices.Backward(m.kept) {
		if bytes += o.Bytes; len(m.kept)-at > w.Count || bytes > w.Bytes {
			m.kept = slices.Clone(m.kept[at+1:])
			break
		}
	}
	return one.Kept, nil
}

// gitOf is the repository of a session, to be packed.
type gitOf struct {
	packedGit
	base string
}

// worker returns the files and the repository of a session.
func (k keeper) worker(session string) (*Files, gitOf, error) {
	i := k.by
	n := i.container.node
	n.mu.Lock()
	defer n.mu.Unlock()
	if err := i.alive(); err != nil {
		return nil, gitOf{}, err
	}
	s, err := i.container.usable(session)
	if err != nil {
		return nil, gitOf{}, err
	}
	return s.filesOn(n), gitOf{s.git.packGit(s.commit), s.commit}, nil
}

// BringWork implements [orchestrator.Inside].
func (k keeper) BringWork(ctx context.Context, kept, into string) (agent.Kept, error) {
	i := k.by
	r, err := i.begin(ctx, BringWork, into, i.container.node.engine.opts.Latency.Open)
	if err != nil {
		return agent.Kept{}, err
	}
	found, err := k.bringWork(kept, into)
	if err = i.finish(ctx, r, err); err != nil {
		return agent.Kept{}, err
	}
	return found, nil
}

func (k keeper) bringWork(kept, into string) (agent.Kept, error) {
	i := k.by
	n := i.container.node
	n.mu.Lock()
	if err := i.alive(); err != nil {
		n.mu.Unlock()
		return agent.Kept{}, err
	}
	at := slices.IndexFunc(i.container.mirror.kept, func(o keptWork) bool { return o.session == kept && time.Now().Before(o.until) })
	if at < 0 {
		n.mu.Unlock()
		return agent.Kept{}, fmt.Errorf("fake: %w", agent.ErrNothingKept)
	}
	one := i.container.mirror.kept[at]
	n.mu.Unlock()
	if into == "" {
		return one.Kept, nil
	}
	files, _, err := k.worker(into)
	if err != nil {
		return agent.Kept{}, err
	}
	return one.Kept, files.unpackWork(bytes.NewReader(one.packed), restoreGit(i, into))
}

// restoreGit returns what makes the repository of a session what was packed.
func restoreGit(i *inside, session string) func(packedGit) {
	return func(git packedGit) {
		n := i.container.node
		n.mu.Lock()
		defer n.mu.Unlock()
		if s := i.container.sessions[session]; s != nil {
			s.git.unpackGit(git)
			s.branch = git.Branch
		}
	}
}
