package errs

import (
	"errors"
	"fmt"
	"strings"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// Causes are the words by which the record of a session names why it could not be created, beside those of the
// orchestrator. They are stored: they do not change.
var Causes = map[string]error{
	"no capacity":     ErrNoCapacity,
	CauseAccessDenied: ErrAccessDenied,
	"instance lost":   ErrInstanceLost,
	"container lost":  ErrContainerLost,
	"suspended":       ErrSuspended,
	"destroying":      ErrDestroying,
	"closed":          ErrClosed,
	"unknown outcome": store.ErrUnknownOutcome,
	"unavailable":     ErrUnavailable,
	CauseOutOfMemory:  ErrOutOfMemory,
}

// CauseAccessDenied is the cause of a session that the remote has refused.
const CauseAccessDenied = "access denied"

// refusal precedes git's own words in the message of a session that the remote has refused.
const refusal = "git fetch: "

// refused makes git's error an ErrAccessDenied, too, where its words say so already.
type refused struct{ error }

func (e refused) Unwrap() []error { return []error{e.error, ErrAccessDenied} }

// CauseOutOfMemory is the cause of a store.EndContainerLost whose container had run out of memory.
const CauseOutOfMemory = "out of memory"

// outOfMemory makes an error an ErrOutOfMemory, too, where its words say so already.
type outOfMemory struct{ error }

func (e outOfMemory) Unwrap() []error { return []error{e.error, ErrOutOfMemory} }

// ContainerLost is the API's name for an error that says that a container is gone: ErrContainerLost, and ErrOutOfMemory
// too if the container died of that.
func ContainerLost(err error) error {
	if errors.Is(err, agent.ErrOutOfMemory) {
		return outOfMemory{ErrContainerLost}
	}
	return ErrContainerLost
}

// Ended returns why a session ended, as its record says it. start makes the error of a session that could not be created.
func Ended(s *store.Session, start func(StartError) error) error {
	var err error
	switch s.End.Reason {
	case store.EndExpired, store.EndLifetime:
		err = ErrExpired
	case store.EndInstanceLost, store.EndInterrupted:
		err = ErrInstanceLost
	case store.EndContainerLost:
		if err = ErrContainerLost; s.End.Cause == CauseOutOfMemory {
			err = outOfMemory{err}
		}
	case store.EndStartFailed:
		err := orchestrator.Recalled(s.End.Cause, s.End.Message, Causes)
		if s.End.Cause == CauseAccessDenied && strings.Contains(s.End.Message, refusal) {
			err = refused{orchestrator.Recalled("git fetch", s.End.Message, nil)}
		}
		return start(StartError{
			Phase: s.End.Phase, TaskID: s.TaskID, Repository: s.SharingKey.Repository,
			Err: err,
		})
	case store.EndAbandoned:
		err = ErrAbandoned
	case store.EndRevoked:
		err = ErrRevoked
	case store.EndOverLimit:
		err = ErrOverLimit
	default:
		err = ErrTerminated
	}
	if s.End.Message != "" {
		err = fmt.Errorf("%w: %s", err, s.End.Message)
	}
	if s.Unsaved != "" {
		err = fmt.Errorf("%w; %w: %s", err, ErrUnsaved, s.Unsaved)
	}
	return err
}

// NotCreating is the error of a creation whose session is not being created any more, as its record says: ErrTerminated, or
// ErrRevoked.
func NotCreating(s *store.Session) error {
	if s.End.Reason == store.EndRevoked {
		return ErrRevoked
	}
	return ErrTerminated
}

// IsEnd reports whether an error says that a session is over.
func IsEnd(err error) bool {
	for _, over := range []error{
		ErrSessionNotFound, ErrTerminated, ErrExpired, ErrInstanceLost, ErrContainerLost, ErrAbandoned, ErrRevoked, ErrOverLimit,
	} {
		if errors.Is(err, over) {
			return true
		}
	}
	return false
}
