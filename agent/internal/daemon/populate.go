package daemon

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/agent/internal/git"
)

// populateTime bounds the checkout of what a repository refers to.
const populateTime = time.Hour

// A populating checks out what a session's repository refers to.
type populating struct {
	*Daemon
	s *session
}

// do checks out the submodules and the files of Git LFS that a new session's checkout refers to. The repository says from where they
// come. So git runs as the session's commands will: under its uid, in its room, with what it may connect to. If that fails, nothing is left
// of the session.
func (p populating) do(ctx context.Context) (err error) {
	s := p.s
	if !s.Submodules && !s.LFS || s.place.Commit == "" {
		return nil
	}
	defer func() {
		if err != nil {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			err = errors.Join(err, p.clear(ctx, s))
		}
	}()
	ctx, cancel := context.WithTimeoutCause(ctx, populateTime, fmt.Errorf("it took longer than %v", populateTime))
	defer cancel()
	if s.LFS { // before anything is fetched
		if err := p.installLFS(ctx); err != nil {
			return err
		}
	}
	if s.Submodules {
		if err := p.git(ctx, "submodule", "submodule", "--quiet", "update", "--init", "--recursive"); err != nil {
			return err
		}
	}
	if !s.LFS {
		return nil
	}
	if err := p.git(ctx, "lfs", "lfs", "pull"); err != nil {
		return err
	}
	if s.Submodules {
		return p.git(ctx, "lfs", "submodule", "--quiet", "foreach", "--recursive", "git lfs install --local --skip-repo >/dev/null && git lfs pull")
	}
	return nil
}

// installLFS makes the checkout's git use Git LFS.
func (p populating) installLFS(ctx context.Context) error {
	if err := p.git(ctx, "lfs", "lfs", "install", "--local", "--skip-repo"); err != nil {
		failed, ok := errors.AsType[*git.Error](err)
		if ok && strings.Contains(failed.Message, "'lfs' is not a git command") {
			return &git.Error{Op: "lfs", Message: "the image has no git-lfs, which the files of Git LFS need: add it to the image"}
		}
		return err
	}
	return nil
}

// git runs a git of the session.
func (p populating) git(ctx context.Context, op string, args ...string) error {
	s := p.s
	job := p.places.Job(s.place, s.UID)
	job.Op, job.Args, job.URL, job.Also = op, args, s.URL, []string{"https"}
	// The session's own environment, with its proxies and certificates, but for what decides which git runs.
	own := slices.DeleteFunc(stringsOf(s.Env), func(kv string) bool {
		return strings.HasPrefix(kv, "PATH=") || strings.HasPrefix(kv, "GIT_") && !strings.HasPrefix(kv, "GIT_SSL_") && !strings.HasPrefix(kv, "GIT_PROXY_SSL_")
	})
	job.Env = append(own, slices.DeleteFunc(slices.Clone(job.Env), func(kv string) bool { return kv == "GIT_LFS_SKIP_SMUDGE=1" && op == "lfs" })...)
	_, err := git.Run(ctx, p.starter(s), job)
	return err
}
