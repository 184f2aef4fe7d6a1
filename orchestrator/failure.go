package orchestrator

import (
	"errors"
	"fmt"
	"strings"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/store"
)

// StartFailure says in which phase the start of a container failed.
type StartFailure struct {
	Phase store.Phase // PhaseStarting or PhaseFetching
	Err   error
}

func (f *StartFailure) Error() string { return fmt.Sprintf("%s: %v", f.Phase, f.Err) }
func (f *StartFailure) Unwrap() error { return f.Err }

// startFailure describes the error of a start for the container's record.
func startFailure(err error) store.Failure {
	failure := store.Failure{Reason: store.EndStartFailed, Phase: store.PhaseStarting}
	if f, ok := errors.AsType[*StartFailure](err); ok {
		failure.Phase, err = f.Phase, f.Err
	}
	failure.Cause, failure.Message = Stored(err, nil)
	return failure
}

// recordedFailure is the error that the record of a stopping container describes.
func recordedFailure(c *store.Container) error {
	if c.Failure.Phase == "" {
		return errStopping
	}
	return &StartFailure{Phase: c.Failure.Phase, Err: Recalled(c.Failure.Cause, c.Failure.Message, nil)}
}

// CauseBranchNotFound is the cause of a session whose branch the remote does not have.
const CauseBranchNotFound = "branch not found"

// causes are the words by which a record names an error. They are stored: they do not change.
var causes = map[string]error{
	"container gone":    agent.ErrGone,
	"unknown session":   agent.ErrUnknownSession,
	CauseBranchNotFound: agent.ErrBranchNotFound,
	"incompatible":      agent.ErrIncompatible,
	"wrong host":        ErrWrongHost,
	"name taken":        ErrNameTaken,
	"in use":            ErrInUse,
	"image":             ErrImage,
	"runtime":           ErrRuntime,
	"no isolation":      ErrNoIsolation,
	"address refused":   agent.ErrAddressRefused,
	"unreachable":       ErrUnreachable,
	"no snapshot":       ErrNoSnapshot,
	"snapshot corrupt":  ErrSnapshotCorrupt,
}

// gitCause begins the word for an *agent.GitError. The error's Op follows.
const gitCause = "git "

// Stored describes an error for a record, so that Recalled returns one that matches the same sentinels. more are
// sentinels of the caller, by the words that name them. They have precedence.
func Stored(err error, more map[string]error) (cause, message string) {
	message = Clean(err.Error())
	if failed, ok := errors.AsType[*agent.GitError](err); ok {
		return gitCause + failed.Op, message
	}
	for _, known := range []map[string]error{more, causes} {
		for word, sentinel := range known {
			if errors.Is(err, sentinel) && (cause == "" || word < cause) {
				cause = word
			}
		}
		if cause != "" {
			return cause, message
		}
	}
	return "", message
}

// Recalled returns the error that a record describes. It has the stored message, and matches the sentinel that the cause
// names.
func Recalled(cause, message string, more map[string]error) error {
	if op, ok := strings.CutPrefix(cause, gitCause); ok {
		words := message
		if _, after, ok := strings.Cut(message, "git "+op+": "); ok {
			words = after
		}
		return &recalled{message, &agent.GitError{Op: op, Message: words}}
	}
	for _, known := range []map[string]error{more, causes} {
		if sentinel := known[cause]; sentinel != nil {
			return &recalled{message, sentinel}
		}
	}
	return errors.New(message) // also if only a newer version knows the cause
}

// recalled is an error that was stored.
type recalled struct {
	message string // the text that it had
	cause   error  // the error that it matches
}

func (e *recalled) Error() string { return e.message }
func (e *recalled) Unwrap() error { return e.cause }

// maxMessage bounds how much a record keeps of the words of git and the engine.
const maxMessage = 4 << 10

// Clean makes the words of git or an engine fit for a record: one line of bounded length that shows as itself.
func Clean(message string) string { return gitremote.Line(message, maxMessage) }
