package berth

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Errors of this package. All work with errors.Is through any wrapping, and none holds a credential. [Retryable] says
// which of them pass. The errors that say why a session ended are stored with it: they are the same in every process, and
// after a restart. An error for the wrong use of a Cmd, such as a second Start, matches none of them: it is a mistake in the
// program.
var (
	// ErrSessionNotFound: there is no session of that ID or task, or it ended long ago.
	ErrSessionNotFound = errs.ErrSessionNotFound
	// ErrSessionStarting: another call is still creating the session, which takes no command and no KeepAlive until then.
	ErrSessionStarting = errs.ErrSessionStarting
	// ErrTaskConflict: the TaskID belongs to a session of another user, repository, branch, snapshot, SelfContained, Submodules or LFS, or with another
	// sharing key, that has not ended.
	ErrTaskConflict = errs.ErrTaskConflict
	// ErrNoCapacity: no slot became free within Config.QueueTimeout, or before something else ended the wait, because
	// launches fail, or there may be no more instances or containers of the repository. The error also matches the end
	// of the wait: context.DeadlineExceeded, the cause of the context, ErrClosed. The text says for how long the session waited,
	// at which place in the queue, and why the last launch failed.
	ErrNoCapacity = errs.ErrNoCapacity
	// ErrAccessDenied: Config.Authorize refuses the request, whose own error is matched, too; or the remote does not give the
	// repository to the request's credential. After that, the same user, repository and credential are refused for 10 s
	// without another question to the remote.
	ErrAccessDenied = errs.ErrAccessDenied
	// ErrQuota: the user is at one of the limits of Config.UserLimits; see QuotaError.
	ErrQuota = errs.ErrQuota
	// ErrRevoked: Revoke has ended the session.
	ErrRevoked = errs.ErrRevoked
	// ErrInvalid: a field of a request or of the Config is unfit; see FieldError.
	ErrInvalid = errs.ErrInvalid
	// ErrInstanceLost: the session's instance vanished or stopped answering.
	ErrInstanceLost = errs.ErrInstanceLost
	// ErrContainerLost: the session's container died or was removed from outside, or does not have the session.
	ErrContainerLost = errs.ErrContainerLost
	// ErrOutOfMemory: the memory of the session, or of its container, was used up while a command ran, which then did not succeed
	// (an *ExitError), or that of the container before it died (an ErrContainerLost). Config.Limits.Session.MemoryBytes and
	// Config.Limits.MemoryBytes bound them.
	ErrOutOfMemory = errs.ErrOutOfMemory
	// ErrOverLimit: the session had more on the disk than Config.Limits.Session allows, and was ended. Its text has the numbers:
	// disk: used 11.0 GiB of 10.0 GiB.
	ErrOverLimit = errs.ErrOverLimit
	// ErrUnsaved stands beside the reason why a session ended: Config.OnEnd or Config.SaveWork has failed. Its text says what is lost.
	ErrUnsaved = errs.ErrUnsaved
	// ErrExpired: the session was idle for its whole IdleTimeout.
	ErrExpired = errs.ErrExpired
	// ErrTerminated: the session was ended by TerminateSession or Destroy, or the caller that created it gave up.
	ErrTerminated = errs.ErrTerminated
	// ErrOutputCut: the output of a command was not delivered to its last byte, or it is not known whether it was. The
	// error that wraps it says why, such as ErrContainerLost, ErrClosed, ErrTerminated, exec.ErrWaitDelay, the cause of the
	// command's context or the error of the caller's own Writer, and holds an *ExitError if the command is known to have
	// failed. A pipe that the caller closes early is no such error.
	ErrOutputCut = errs.ErrOutputCut
	// ErrAbandoned: the process that created the session died, or was taken for dead, before it was active.
	ErrAbandoned = errs.ErrAbandoned
	// ErrSuspended: this process could not renew its lease in the store, and may not act until it can. Try again.
	ErrSuspended = errs.ErrSuspended
	// ErrNoPlanner: as far as this process knows, none launches and ends instances, and takes over what dead processes have
	// left. After the death of the process that did, another one begins within 16 s. Health alone returns it.
	ErrNoPlanner = errs.ErrNoPlanner
	// ErrUnavailable: the store, an instance's engine or a container's agent did not answer, or failed. Its own words
	// follow. The store's other errors, such as store.ErrUnknownOutcome, are matched, too.
	ErrUnavailable = errs.ErrUnavailable
	// ErrDestroying: the pool is being destroyed, or was, and takes no sessions. The next New opens it again.
	ErrDestroying = errs.ErrDestroying
	// ErrClosed: the Provider was closed.
	ErrClosed = errs.ErrClosed
)

// Retryable reports whether the same call may succeed later, without a change by the caller: after a pause, and with
// another context if that one has ended. It is false for nil, and for an error that it does not know.
//
//	true   ErrNoCapacity, ErrQuota, ErrSessionStarting, ErrInstanceLost, ErrContainerLost, ErrAbandoned, ErrSuspended, ErrNoPlanner,
//	       ErrUnavailable, store.ErrUnknownOutcome, agent.ErrGone, orchestrator.ErrUnreachable; an *ec2cloud.PreflightError of failures of
//	       AWS that pass; a *StartError, unless its cause is among those below
//	false  ErrInvalid, ErrTaskConflict, ErrAccessDenied, ErrRevoked, ErrSessionNotFound, ErrOverLimit, ErrExpired, ErrTerminated,
//	       ErrDestroying, ErrClosed, store.ErrClosed; agent.ErrNotExecutable, agent.ErrBranchNotFound, agent.ErrAddressRefused, agent.ErrIncompatible, agent.ErrProofRequired, agent.ErrUnknownCommand, agent.ErrNothingKept, agent.ErrNotPromoted, ErrUnsaved,
//	       an *agent.GitError that says nothing of a connection or of an overloaded server, orchestrator.ErrImage,
//	       ErrRuntime, ErrNoIsolation, ErrNameTaken, ErrWrongHost, ErrNoSnapshot and ErrSnapshotCorrupt; an *ExitError; context.Canceled; context.DeadlineExceeded, unless one of the
//	       first sort stands beside it
//
// Apart from that, an error that matches both sorts is not retryable. For CreateSession, true means that the call may be
// repeated with the same TaskID. A call of a session that gives ErrInstanceLost, ErrContainerLost or
// ErrAbandoned cannot succeed later, because the session has ended. The task may be given a new session, in which it begins
// anew.
func Retryable(err error) bool {
	failed, isGit := errors.AsType[*agent.GitError](err)
	switch {
	case err == nil, slices.ContainsFunc(lasting, func(e error) bool { return errors.Is(err, e) }):
		return false
	case slices.ContainsFunc(passing, func(e error) bool { return errors.Is(err, e) }):
		return true
	case isGit:
		return gitremote.Transient(failed.Message)
	}
	if knows, ok := errors.AsType[interface {
		error
		Retryable() bool
	}](err); ok {
		return knows.Retryable()
	}
	_, ran := errors.AsType[*ExitError](err)
	_, start := errors.AsType[*StartError](err)
	return start && !ran && !errors.Is(err, context.DeadlineExceeded)
}

// lasting and passing are the errors that Retryable knows.
var (
	lasting = []error{
		ErrInvalid, ErrTaskConflict, ErrAccessDenied, ErrRevoked, ErrSessionNotFound, ErrOverLimit, agent.ErrOverLimit, ErrExpired, ErrTerminated, ErrDestroying, ErrClosed,
		agent.ErrNotExecutable, agent.ErrBranchNotFound, agent.ErrAddressRefused, agent.ErrIncompatible, agent.ErrProofRequired,
		agent.ErrUnknownCommand, agent.ErrNothingKept, agent.ErrNotPromoted, ErrUnsaved,
		orchestrator.ErrImage, orchestrator.ErrRuntime, orchestrator.ErrNoIsolation, orchestrator.ErrNameTaken, orchestrator.ErrWrongHost,
		orchestrator.ErrNoSnapshot, orchestrator.ErrSnapshotCorrupt, context.Canceled, store.ErrClosed,
	}
	passing = []error{
		ErrNoCapacity, ErrQuota, ErrSessionStarting, ErrInstanceLost, ErrContainerLost, ErrAbandoned, ErrSuspended, ErrNoPlanner, ErrUnavailable,
		store.ErrUnknownOutcome, agent.ErrGone, orchestrator.ErrUnreachable,
	}
)

// A FieldError names a field that is unfit, and says why. errors.Is(err, ErrInvalid) holds for it.
type FieldError struct {
	Field  string // e.g. "SessionRequest.Repository"
	Reason string
}

func (e *FieldError) Error() string { return fmt.Sprintf("berth: invalid %s: %s", e.Field, e.Reason) }

// Unwrap makes a FieldError an ErrInvalid.
func (e *FieldError) Unwrap() error { return ErrInvalid }

// A StartError says why a session's container or checkout could not be made.
type StartError struct {
	Phase      string // "placing", "starting", "fetching" or "checkout"
	TaskID     string
	Repository naming.Repository
	Err        error // holds git's or the engine's own message
}

func (e *StartError) Error() string {
	below := errs.StartError{Phase: store.Phase(e.Phase), TaskID: e.TaskID, Repository: e.Repository, Err: e.Err}
	return below.Error()
}

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

// startError makes the StartError of what the packages below return.
func startError(e errs.StartError) error {
	return &StartError{Phase: string(e.Phase), TaskID: e.TaskID, Repository: e.Repository, Err: e.Err}
}
