package berth

import (
	"errors"
	"fmt"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// Errors of this package. All work with errors.Is through any wrapping, and none holds a credential.
var (
	// ErrSessionNotFound: there is no session of that ID, or it ended long ago.
	ErrSessionNotFound = errors.New("berth: no such session")
	// ErrTaskConflict: the TaskID belongs to a session of another user, repository or branch that has not ended.
	ErrTaskConflict = errors.New("berth: the task ID is in use by another session")
	// ErrNoCapacity: no slot became free within Config.QueueTimeout.
	ErrNoCapacity = errors.New("berth: no capacity")
	// ErrAccessDenied: the user may not use the repository. Nothing returns it yet: see Access control in the README.
	ErrAccessDenied = errors.New("berth: access denied")
	// ErrInvalid: a field of a request or of the Config is unfit; see FieldError.
	ErrInvalid = errors.New("berth: invalid")
	// ErrInstanceLost: the session's instance vanished or stopped answering.
	ErrInstanceLost = errors.New("berth: the instance was lost")
	// ErrContainerLost: the session's container died or was removed from outside.
	ErrContainerLost = errors.New("berth: the container was lost")
	// ErrExpired: the session was idle for its whole IdleTimeout.
	ErrExpired = errors.New("berth: the session expired")
	// ErrTerminated: the session was ended by TerminateSession or Destroy.
	ErrTerminated = errors.New("berth: the session was terminated")
	// ErrAbandoned: the process that created the session died, or was taken for dead, before it was active.
	ErrAbandoned = errors.New("berth: the session was abandoned")
	// ErrSuspended: this process could not renew its lease in the store, and may not act until it can. Try again.
	ErrSuspended = errors.New("berth: this process cannot renew its lease in the store")
	// ErrClosed: the Provider was closed, or its pool is being destroyed.
	ErrClosed = errors.New("berth: closed")
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
	return fmt.Sprintf("berth: task %q on %s failed while %s: %v", e.TaskID, e.Repository, gerund(e.Phase), e.Err)
}

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

func gerund(phase string) string {
	if phase == "checkout" {
		return "checking out"
	}
	return phase
}

// Why a session ends, as its record says it. The words are stored: they do not change.
const (
	endTerminated    = "terminated"
	endExpired       = "expired"
	endInstanceLost  = "instance lost"
	endContainerLost = "container lost"
	endStartFailed   = "start failed"
	endCancelled     = "cancelled" // its creator gave up
	endAbandoned     = "abandoned" // its creator's process ended
)

// endError is the error that Session.Err gives for a session that ended.
func endError(s *store.Session) error {
	var err error
	switch s.End.Reason {
	case endTerminated:
		return ErrTerminated
	case endExpired:
		return ErrExpired
	case endInstanceLost:
		err = ErrInstanceLost
	case endContainerLost:
		err = ErrContainerLost
	case endStartFailed:
		return &StartError{
			Phase: s.End.Phase, TaskID: s.TaskID, Repository: s.SharingKey.Repository, Err: errors.New(s.End.Message),
		}
	case endAbandoned:
		err = ErrAbandoned
	default:
		err = ErrTerminated
	}
	if s.End.Message == "" {
		return err
	}
	return fmt.Errorf("%w: %s", err, s.End.Message)
}
