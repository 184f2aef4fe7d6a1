package sim

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// private reports whether a repository's remote wants a credential.
func (p plan) private(repo int) bool { return p.dice.chance(0.3, "private", fmt.Sprint(repo)) }

// repository is what a repository's server has.
func (p plan) repository(repo int) fake.Repo {
	r := fake.Repo{Tags: []string{tag}}
	if p.private(repo) {
		r.Password = secret
	}
	return r
}

// admitted returns a remote with a credential, if the repository wants one.
func (p plan) admitted(repo int, purpose ...string) string {
	if p.private(repo) {
		return fmt.Sprintf("https://planted:%s@github.com/acme/repo-%d", secret, repo)
	}
	return p.spelling(repo, purpose...)
}

// reads reports whether the task's credential reads its repository.
func (t *task) reads() bool { return !t.plan.private(t.repo) || !t.will(0.3, "may not read") }

// remote returns the remote that the task names, with the task's credential.
func (t *task) remote() string {
	switch {
	case t.reads():
		return t.plan.admitted(t.repo, t.name, "spelling")
	case t.will(0.5, "wrong credential"):
		return fmt.Sprintf("https://planted:another-token@github.com/acme/repo-%d", t.repo)
	}
	return fmt.Sprintf("https://github.com/acme/repo-%d", t.repo)
}

// proven checks that the sessions in what was fetched with a credential have one that reads the remote.
func (r *rules) proven(s *audit.Snapshot) {
	private := make(map[string]bool) // by host and name
	for _, m := range r.world.engine.Mirrors() {
		private[m.Host+"/"+m.Name] = m.Private
	}
	if r.world.plan.config.Access == berth.AccessAllowAll {
		return
	}
	for _, x := range s.Sessions {
		var repo int
		if x.State != store.SessionActive || !private[x.Instance+"/"+x.ContainerName] || strings.HasPrefix(x.TaskID, "after-") {
			continue
		}
		if _, err := fmt.Sscanf(x.SharingKey.Repository.Path, "acme/repo-%d", &repo); err != nil {
			r.broken("active session %s of %s: %v", x.ID, x.TaskID, err)
			continue
		}
		if t := (&task{world: r.world, name: x.TaskID, repo: repo}); !t.reads() {
			r.broken("active session %s of %s has proven no access to %s", x.ID, x.TaskID, x.SharingKey)
		}
	}
	for _, c := range r.world.engine.Containers() {
		for _, in := range c.Sessions {
			if private[c.Host+"/"+c.Name] && !in.Proven {
				r.broken("session %s is in private container %s and is not proven", in.ID, c.Name)
			}
		}
	}
}

// denied checks that a task that may read is refused only if the host forbids it, or a remote refused everybody for a while.
func (r *rules) denied(t *task, err error) {
	if !errors.Is(err, berth.ErrAccessDenied) {
		return
	}
	r.world.trace.saw("access denied")
	switch {
	case errors.Is(err, errForbidden):
		r.world.trace.saw("not authorized")
		if repository := (naming.Repository{Host: "github.com", Path: fmt.Sprintf("acme/repo-%d", t.repo)}); r.world.may(t.request().UserID, repository) {
			r.broken("%s is authorized and was refused: %v", t.name, err)
		}
	case t.reads() && !t.plan.armed[refusing] && !t.plan.armed[unruly]:
		r.broken("%s may read and was refused: %v", t.name, err)
	}
}

// befallRemote lets a remote refuse all requests, or answer none, for a while.
func (w *world) befallRemote(ctx context.Context, t trouble, at string) {
	repo := w.plan.spelling(w.plan.dice.between(0, w.plan.repos-1, "refusing", at), "refusing", at)
	words := "fatal: unable to access 'https://github.com/': The requested URL returned error: 403"
	if t == silent {
		words = "the remote takes no connection: no answer for 30s"
	}
	w.engine.Refuse(repo, &agent.GitError{Op: "fetch", Message: words})
	w.actors.Go(func() {
		pause(ctx, w.while(at))
		w.engine.Refuse(repo, nil)
	})
}
