package daemon

import (
	"context"

	"github.com/berth-go/berth/agent/devcontainer"
	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/wire"
)

// devcontainer returns what the devcontainer.json of a commit says. A commit without one, or with one that cannot be read, says nothing:
// Unsupported then has why.
func (p *prepared) devcontainer(ctx context.Context, w *wire.Prepare, commit string) (f devcontainer.File, err error) {
	if w == nil || !w.Devcontainer || commit == "" {
		return f, nil
	}
	p.mu.Lock()
	f, known := p.files[commit]
	p.mu.Unlock()
	if known {
		return f, nil
	}
	found, err := p.mirror.Files(ctx, commit, func(name string) bool { return name == devcontainer.Path })
	if err != nil {
		return f, err
	}
	if len(found) > 0 {
		text, err := mirror.Content(ctx, p.mirror, found[0], devcontainer.MaxBytes)
		if err == nil {
			f, err = devcontainer.Parse(text)
		}
		if ctx.Err() != nil {
			return f, context.Cause(ctx)
		}
		if err != nil {
			f = devcontainer.File{Unsupported: []string{err.Error()}}
		}
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.files) >= maxFiles {
		clear(p.files)
	}
	p.files[commit] = f
	return f, nil
}

// maxFiles bounds the files that are remembered.
const maxFiles = 100

// variables adds what the devcontainer.json of the commit says to the environment of a session's commands.
func (f *furnishing) variables(ctx context.Context, s *session) {
	file, err := f.prepared.devcontainer(ctx, s.Prepare, f.target.Commit)
	if err != nil {
		f.Log.Warn("a session starts without the variables of devcontainer.json", "session", s.ID, "error", err)
	}
	s.repositoryEnv = file.Env
}
