package fake

import (
	"context"
	"io"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/filewire"
)

// startHelper starts the program that serves the files of a session, or one that packs or unpacks its work. It is not one of its commands.
// The caller holds the node's mu.
func (i *inside) startHelper(s *session, r reply, c agent.Command) (*process, error) {
	p := &process{inside: i, session: s, started: c, reply: r, oomKills: i.container.oomKills}
	ctx, err := p.prepare()
	if err != nil {
		return nil, err
	}
	s.since = time.Now()
	files := s.filesOn(i.container.node)
	serve := func(_ context.Context, c Command) int {
		if filewire.Serve(touching{c.Stdin, p}, c.Stdout, tree{files}) != nil {
			return 1
		}
		return 0
	}
	switch commit := s.commit; c.Work {
	case agent.PackWork:
		git := s.git.packGit(commit)
		serve = func(_ context.Context, c Command) int { return said(c.Stderr, files.packWork(c.Stdout, commit, git)) }
	case agent.UnpackWork:
		restore := restoreGit(i, s.id)
		serve = func(_ context.Context, c Command) int { return said(c.Stderr, files.unpackWork(c.Stdin, restore)) }
	}
	i.container.node.engine.running.Go(func() { p.run(ctx, serve, Command{Stdin: input{p}, Stdout: p.stdout, Stderr: p.stderr}) })
	return p, nil
}

// touching is the input of the program that serves a session's files: what comes counts as a use of the session.
type touching struct {
	r io.Reader
	p *process
}

func (t touching) Read(b []byte) (int, error) {
	n, err := t.r.Read(b)
	node := t.p.inside.container.node
	node.mu.Lock()
	defer node.mu.Unlock()
	if n > 0 {
		t.p.session.since = time.Now()
	}
	return n, err
}

// filesOn returns the files of a session on a node. The caller holds the node's mu.
func (s *session) filesOn(n *node) *Files {
	if s.files == nil {
		s.files = newFiles(s, func() bool {
			n.mu.Lock()
			defer n.mu.Unlock()
			return n.full
		})
	}
	return s.files
}
