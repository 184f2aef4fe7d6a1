package berth

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/command"
	"github.com/berth-go/berth/internal/gitwork"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/plain"
	"github.com/berth-go/berth/internal/session"
	"github.com/berth-go/berth/internal/snapshot"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/work"
)

// Changes returns what the checkout has that its remote does not have: what is uncommitted, untracked, unpushed and stashed. Like the
// three methods that follow, it runs git in the session, under its uid and with its environment, as a command that Commands does not
// list. So what a task has configured, and its hooks, concern that task alone; and as a command, it renews the session's lease. It takes
// at most 15 min, and fails with *agent.GitError and git's own words. Other errors are as for Cmd.Run.
func (s *Session) Changes(ctx context.Context) (work.Changes, error) {
	c, err := s.git().Changes(ctx)
	return c, s.workError("changes", err)
}

// Patch returns a patch of what the remote does not have, as one e-mail: commits that were not pushed, what is not committed, and files
// that git does not track. It has renames, modes and binary files. git apply and git am take it on a checkout of its base, the
// newest commit of HEAD that the remote has, which "Berth-Base:" names in it. If files have lines that end with CR LF, git am needs
// --keep-cr. It is empty if there is nothing. The session's index is left alone. Ignored files, stashes and other branches are not in it.
//
// Read returns io.EOF only if the patch is whole. Otherwise its last error says why not: work.ErrIncomplete if git cannot read a file, or
// if a directory is a repository of its own, whose content no patch can have; the error names them, and the rest is there. The caller
// closes the reader. When ctx ends, Read fails.
func (s *Session) Patch(ctx context.Context) (io.ReadCloser, error) {
	if err := s.gate().enter(); err != nil {
		return nil, err
	}
	defer s.gate().leave()
	return s.git().Patch(ctx, "berth: work of task "+s.Info().TaskID, s.p.loops.Go), nil
}

// Commit commits what has changed in the checkout, and returns the commit. The hooks of the checkout run, unless NoVerify is set.
// work.ErrNoChanges: there is nothing to commit. *agent.GitError: git or a hook has failed.
func (s *Session) Commit(ctx context.Context, o work.CommitOptions) (string, error) {
	commit, err := s.git().Commit(ctx, o)
	return commit, s.workError("commit", err)
}

// Push pushes HEAD, with the credentials that git finds in the session, and makes the remote's branch the upstream of the local one of
// the same name. If the server refuses the credential, it is tried once more, because a token may expire in the middle. The hook pre-push runs
// each time. work.ErrRejected: the remote does not take it, most often because others have pushed. *agent.GitError: git has failed.
func (s *Session) Push(ctx context.Context, o work.PushOptions) (work.Pushed, error) {
	pushed, err := s.git().Push(ctx, o)
	return pushed, s.workError("push", err)
}

// git returns the session's repository.
func (s *Session) git() gitwork.Repository {
	return gitwork.Repository{Start: s.Info().Commit, Run: func(ctx context.Context, c gitwork.Call) (int, error) {
		cmd := command.New(ctx, &commandHost{s: s}, exitError)
		if err := cmd.Start(command.Spec{
			Args: c.Args, Env: c.Env, Stdin: c.Stdin, Stdout: c.Stdout, Stderr: c.Stderr, WaitDelay: workDelay, Hidden: true,
		}); err != nil {
			return -1, err
		}
		code, err := cmd.Wait()
		if exit, ok := err.(*ExitError); ok && exit.Signal == 0 {
			return code, nil
		}
		return code, err
	}}
}

// workDelay bounds how long output comes after git's end, from what a hook has left running.
const workDelay = 5 * time.Second

func (s *Session) workError(what string, err error) error {
	if err == nil || strings.Contains(err.Error(), s.id) {
		return plain.Error(err)
	}
	return plain.Error(fmt.Errorf("session %s: %s: %w", s.id, what, err))
}

// EndReason says why a session ends.
type EndReason string

// The reasons for which Config.OnEnd is called.
const (
	EndTerminated  = EndReason(store.EndTerminated)  // by TerminateSession or Destroy
	EndExpired     = EndReason(store.EndExpired)     // its lease ran out
	EndLifetime    = EndReason(store.EndLifetime)    // it has reached its MaxLifetime
	EndInterrupted = EndReason(store.EndInterrupted) // the cloud takes its instance back within minutes
)

// SaveWork says where the work of sessions that end is kept.
type SaveWork int

// The values of SaveWork.
const (
	SaveNothing SaveWork = iota
	// SaveToBranch pushes commits, uncommitted changes and untracked files to the branch berth/save/TASK of the remote, with the credentials
	// that git finds in the session. If that fails, it does as SaveToSnapshots, if there are Config.Snapshots
	SaveToBranch
	// SaveToSnapshots stores what Session.Patch returns in Config.Snapshots
	SaveToSnapshots
	// SaveWhole stores what Session.Snapshot keeps in Config.Snapshots: all files, ignored ones too, all branches, commits and stashes, the
	// index and the configuration of the checkout
	SaveWhole
)

// keeper keeps the work of sessions on a repository.
func (c *Config) keeper(s *store.Session) (gitwork.Keeper, error) {
	scope, err := c.Sharing.snapshotScope(AccessRequest{UserID: s.UserID, Repository: s.SharingKey.Repository, Labels: s.Labels})
	return gitwork.Keeper{Repository: s.SharingKey.Repository.String(), Scope: scope, Snapshots: c.Snapshots, Branches: c.SaveWork == SaveToBranch}, err
}

// keeper keeps the work of the session.
func (s *Session) keeper(r *store.Session) (gitwork.Keeper, error) {
	cfg, info := &s.p.cfg, s.Info()
	k, err := cfg.keeper(r)
	k.Refused = func(err error) {
		s.p.failures.Report("the work of a session could not be pushed, and is kept in a snapshot", err, "session", s.id, "task", info.TaskID)
	}
	if cfg.SaveWork == SaveWhole {
		k.Pack = func(ctx context.Context, name orchestrator.SnapshotName, branch string) error {
			header := snapshot.Header{
				Repository: info.Repository.String(), User: info.UserID, Task: info.TaskID, Name: name.Key, Branch: branch, Created: time.Now().UTC(),
			}
			_, err := snapshot.Save(ctx, cfg.Snapshots, &commandHost{s: s}, name, &header)
			return err
		}
	}
	return k, err
}

// owned returns a handle for what is done with a session before it is active, or before its checkout is removed.
func (u upward) owned(ctx context.Context, r *store.Session) *Session {
	in, _ := store.Read[*store.Instance](ctx, u.p.store, store.InstanceKey(r.Instance)) // a snapshot need not have it
	s := u.p.session(r, in)
	s.own = newGate()
	return s
}

// lastOf returns what is done with sessions that end; nil = nothing.
func (u upward) lastOf() func(context.Context, *store.Session) session.Outcome {
	if u.p.cfg.OnEnd == nil && u.p.cfg.SaveWork == SaveNothing {
		return nil
	}
	return u.last
}

// last calls Config.OnEnd, and then saves what is left.
func (u upward) last(ctx context.Context, r *store.Session) (out session.Outcome) {
	s := u.owned(ctx, r)
	stop := context.AfterFunc(ctx, s.own.shut)
	defer stop()
	defer s.own.shut()
	saving, cancel := ctx, func() {}
	keeps := u.p.cfg.keepsLost() && r.End.Reason != store.EndInterrupted // else nothing stays on the instance
	if keeps {
		saving, cancel = context.WithTimeoutCause(ctx, u.p.cfg.EndTimeout/4*3, errThreeQuarters)
	}
	defer cancel()
	var failed []error
	if err := u.onEnd(saving, s, EndReason(r.End.Reason)); err != nil {
		failed = append(failed, fmt.Errorf("Config.OnEnd: %w", err))
	}
	if u.p.cfg.SaveWork != SaveNothing {
		k, err := s.keeper(r)
		if err == nil {
			out.Saved, err = k.Keep(saving, s.git(), r.TaskID)
		}
		if where := out.Saved; where != "" {
			u.p.events.saved(r, where)
		}
		if err != nil {
			failed = append(failed, fmt.Errorf("Config.SaveWork: %w", err))
		}
	}
	if len(failed) == 0 {
		return out
	}
	if keeps {
		where := "instance " + r.Instance
		if err := s.keepLost(ctx, r.SharingKey); err != nil {
			failed = append(failed, fmt.Errorf("Config.KeepLost: %w", err))
		} else {
			u.p.events.saved(r, where)
			out.Saved = cmp.Or(out.Saved, where)
			failed = append(failed, errors.New("all is kept on "+where))
		}
	}
	out.Unsaved = errors.Join(failed...).Error()
	return out
}

// keepsLost reports whether there is a Config.KeepLost.
func (c *Config) keepsLost() bool { return c.KeepLost != orchestrator.Retention{} }

// The defaults of Config.KeepLost.
const (
	lostAge   = 7 * 24 * time.Hour
	lostCount = 10
	lostBytes = 1 << 30
)

// keepLost keeps the work of the session on its instance.
func (s *Session) keepLost(ctx context.Context, key naming.Key) error {
	if key.Private() {
		return errors.New("its container is private: nothing of it stays on the instance")
	}
	bounds := s.p.cfg.KeepLost
	return (&commandHost{s: s}).Use(ctx, func(inside orchestrator.Inside, release func()) error {
		defer release()
		_, err := inside.KeepWork(ctx, agent.Keep{
			Session: s.id, Branch: s.Info().Branch, Age: cmp.Or(bounds.MaxAge, lostAge), Count: cmp.Or(bounds.MaxCount, lostCount), Bytes: cmp.Or(bounds.MaxBytes, lostBytes),
		})
		return err
	})
}

// onEnd calls Config.OnEnd. With SaveWork or KeepLost, it has half of EndTimeout, and is not waited for any longer.
func (u upward) onEnd(ctx context.Context, s *Session, why EndReason) error {
	cfg := &u.p.cfg
	if cfg.OnEnd == nil {
		return nil
	}
	if cfg.SaveWork == SaveNothing && !cfg.keepsLost() {
		return guarded(ctx, s, why, cfg.OnEnd)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, cfg.EndTimeout/2, errHalf)
	defer cancel()
	done := make(chan error, 1)
	go func() { done <- guarded(ctx, s, why, cfg.OnEnd) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if err := loop.Sleep(context.WithoutCancel(ctx), time.Second); err != nil {
		return err
	}
	select {
	case err := <-done:
		return err
	default:
		return fmt.Errorf("it does not return: %w", context.Cause(ctx))
	}
}

var (
	errHalf          = fmt.Errorf("half of Config.EndTimeout has passed: %w", context.DeadlineExceeded)
	errThreeQuarters = fmt.Errorf("three quarters of Config.EndTimeout have passed: %w", context.DeadlineExceeded)
)

// guarded calls a function of the host.
func guarded(ctx context.Context, s *Session, why EndReason, fn func(context.Context, *Session, EndReason) error) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("it panicked: %v", p)
		}
	}()
	return fn(ctx, s, why)
}

// openWork opens what is stored of the work of a task, for a session that is to have it; nil = nothing.
func (u upward) openWork(ctx context.Context, s *store.Session, task string) (*gitwork.Saved, error) {
	k, err := u.p.cfg.keeper(s)
	if err != nil {
		return nil, err
	}
	return k.Open(ctx, task)
}

// FindWork implements session.Work.
func (u upward) FindWork(ctx context.Context, s *store.Session, task string) (session.Found, error) {
	saved, err := u.openWork(ctx, s, task)
	switch {
	case err != nil:
		return session.Found{}, err
	case saved == nil:
		return session.Found{Task: task, CheckOut: gitwork.SaveBranch(task)}, nil
	}
	return session.Found{Task: task, CheckOut: saved.Base, Stored: true}, saved.Close()
}

// RestoreWork implements session.Work.
func (u upward) RestoreWork(ctx context.Context, r *store.Session, f session.Found) (branch string, err error) {
	s := u.owned(ctx, r)
	if !f.Stored {
		return s.git().Unsave(ctx)
	}
	saved, err := u.openWork(ctx, r, f.Task)
	switch {
	case err != nil:
		return "", err
	case saved == nil || saved.Base != f.CheckOut:
		return "", fmt.Errorf("%w: the saved work of task %q was replaced meanwhile", ErrUnavailable, f.Task)
	}
	defer saved.Close()
	if saved.Whole == nil {
		return saved.Branch, saved.Apply(ctx, s.git())
	}
	return saved.Branch, (&commandHost{s: s}).Use(ctx, func(inside orchestrator.Inside, release func()) error {
		defer release()
		failed, err := saved.Whole.Restore(ctx, inside, s.id)
		return errors.Join(failed, err)
	})
}

// BeginBranch implements session.Work.
func (u upward) BeginBranch(ctx context.Context, r *store.Session, name string) error {
	return u.owned(ctx, r).git().Branch(ctx, name)
}
