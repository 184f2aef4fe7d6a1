package session

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// A session joins what was fetched with a credential only if its own credential reads the remote. The agent knows what was
// fetched so, and refuses to open a session that is not proven. It asks the remote together with the refresh of the mirror, so
// that nothing is asked for a mirror that needs no proof.

// known sets what is known of the request's access before the remote is asked. byStart: the start of the container has read the
// remote with the request's credential.
func (o *opening) known(byStart bool) {
	if byStart {
		o.trial.Proven()
	}
	o.proven = byStart || !o.cfg.Proofs.Needed() || o.cfg.Proofs.Proven(o.r.Access)
}

// prove proves the request's access.
func (o *opening) prove(ctx context.Context) error {
	mirror, err := o.cfg.Containers.Prove(ctx, o.s, o.inside, o.cred)
	return o.learn(ctx, mirror, err)
}

// learn takes what a fetch with the request's credential says of its access.
func (o *opening) learn(ctx context.Context, mirror agent.Mirror, err error) error {
	if err != nil {
		failure := o.refused(o.fail(ctx, store.PhaseFetching, err))
		if o.s.Start == store.StartAttached && errors.Is(failure, errs.ErrAccessDenied) {
			// The time would tell that the container runs: without it, one would be started before the remote is asked.
			_ = loop.Sleep(ctx, o.cfg.Containers.StartTime())
		}
		return failure
	}
	if mirror.Proven {
		o.trial.Proven()
		o.proven = true
	}
	return nil
}

// refused makes a failed fetch with the request's credential an ErrAccessDenied, if the remote has refused it. The error is the
// same whether or not a container of the repository was there.
func (o *opening) refused(failure *errs.StartError) *errs.StartError {
	failed, isGit := errors.AsType[*agent.GitError](failure.Err)
	switch {
	case isGit && gitremote.Refused(failed.Message):
		what := "the remote does not give the repository to the request's credential, or has none of that name"
		switch {
		case o.cred.Source != nil:
			what = "the remote does not give the repository to the credential of Config.Credentials, or has none of that name"
		case o.cred.Username == "" && o.cred.Password == "":
			what = "the request has no credential, and the remote does not give the repository to everybody, or has none of that name (a credential is a part of SessionRequest.Repository, as in https://TOKEN@host/path)"
		}
		err := explainFetch(o.r.Key.Repository, &agent.GitError{Op: "fetch", Message: failed.Message})
		failure.Err = fmt.Errorf("%w: %s: %w", errs.ErrAccessDenied, what, err)
		o.trial.Refused(failure.Err)
	}
	return o.tooOld(failure)
}

// tooOld makes the error of an agent that cannot check proofs an ErrAccessDenied.
func (o *opening) tooOld(failure *errs.StartError) *errs.StartError {
	if errors.Is(failure.Err, errors.ErrUnsupported) {
		failure.Err = fmt.Errorf("%w: the repository's container admits no new session until its sessions have ended: %w", errs.ErrAccessDenied, failure.Err)
	}
	return failure
}

// refusedLately returns an error if the remote has refused the request's credential a moment ago, and the task has no session.
func (m *Manager) refusedLately(ctx context.Context, r *Request) error {
	refused := m.cfg.Proofs.Refused(r.Access)
	if refused == nil {
		return nil
	}
	task, err := store.Read[*store.Task](ctx, m.cfg.Store, store.TaskKey(r.TaskID))
	if err != nil || task != nil {
		return err
	}
	return &errs.StartError{Phase: store.PhaseFetching, TaskID: r.TaskID, Repository: r.Key.Repository, Err: refused}
}

// explainFetch adds to git's words on a failed fetch what they do not say: a container is not the machine, and has no keys.
func explainFetch(r naming.Repository, err error) error {
	says := func(words string) bool { return strings.Contains(err.Error(), words) }
	hint := ""
	switch {
	case r.IsLoopback():
		hint = r.Host + " is the container itself there, not the machine that runs this program: name the remote by an address that containers reach, such as the machine's own in its network"
	case says("Host key verification failed"):
		hint = "the server's host key is not the one that is known: see Config.KnownHosts; containers have no ssh key either"
	case says("Permission denied ("):
		hint = "containers have no ssh key: use https with a token (https://TOKEN@host/path), or an image whose ssh configuration has one"
	case says("cannot run ssh") || says("ssh: not found") || says("ssh: command not found"):
		hint = "the image has no ssh client: use https, or add one to the image"
	default:
		return err
	}
	return fmt.Errorf("%w; %s", err, hint)
}
