package telemetry

import (
	"context"
	"errors"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// errorOther is OpenTelemetry's error.type of an error that has no other.
const errorOther = "_OTHER"

// errorTypes are the values of error.type, with the errors that have them. The first that matches counts: what says more
// comes before what says less.
var errorTypes = []struct {
	err  error
	word string
}{
	{errs.ErrInvalid, "invalid"},
	{errs.ErrTaskConflict, "task_conflict"},
	{errs.ErrAccessDenied, "access_denied"},
	{errs.ErrQuota, "user_quota"},
	{errs.ErrNoCapacity, "no_capacity"},
	{errs.ErrRevoked, "revoked"},
	{errs.ErrOverLimit, "over_limit"},
	{errs.ErrTerminated, "terminated"},
	{errs.ErrExpired, "expired"},
	{errs.ErrInstanceLost, "instance_lost"},
	{errs.ErrOutOfMemory, "out_of_memory"},
	{errs.ErrContainerLost, "container_lost"},
	{errs.ErrSuspended, "suspended"},
	{errs.ErrAbandoned, "abandoned"},
	{errs.ErrDestroying, "destroying"},
	{errs.ErrSessionNotFound, "session_not_found"},
	{errs.ErrSessionStarting, "session_starting"},

	{pool.ErrQuota, "quota"},
	{pool.ErrCapacity, "capacity"},
	{pool.ErrThrottled, "throttled"},
	{pool.ErrAuth, "auth"},
	{pool.ErrPermanent, "permanent"},
	{pool.ErrLaunchOver, "launch_over"},

	{orchestrator.ErrImage, "image"},
	{orchestrator.ErrRuntime, "runtime"},
	{orchestrator.ErrNoIsolation, "no_isolation"},
	{orchestrator.ErrNameTaken, "name_taken"},
	{orchestrator.ErrInUse, "in_use"},
	{orchestrator.ErrWrongHost, "wrong_host"},
	{orchestrator.ErrUnreachable, "unreachable"},
	{orchestrator.ErrNoSnapshot, "no_snapshot"},
	{orchestrator.ErrSnapshotCorrupt, "snapshot_corrupt"},
	{orchestrator.ErrSnapshotName, "invalid"},

	{agent.ErrOutOfMemory, "out_of_memory"},
	{agent.ErrOverLimit, "over_limit"},
	{agent.ErrGone, "gone"},
	{agent.ErrIncompatible, "incompatible"},
	{agent.ErrBranchNotFound, "branch_not_found"},
	{agent.ErrProofRequired, "proof_required"},
	{agent.ErrUnknownSession, "unknown_session"},
	{agent.ErrUnknownCommand, "unknown_command"},
	{agent.ErrNothingKept, "nothing_kept"},
	{agent.ErrNotPromoted, "not_promoted"},
	{agent.ErrNoLayer, "no_layer"},
	{agent.ErrNotExecutable, "not_executable"},
	{agent.ErrAddressRefused, "address_refused"},

	{store.ErrUnknownOutcome, "unknown_outcome"},
	{store.ErrFenced, "fenced"},
	{errs.ErrClosed, "closed"},
	{store.ErrClosed, "closed"},
	{agent.ErrClosed, "closed"},
	{context.DeadlineExceeded, "timeout"},
	{context.Canceled, "canceled"},
	{errs.ErrUnavailable, "unavailable"},
	{errors.ErrUnsupported, "unsupported"},
}

// errorType returns the error.type of an error; "" = it is nil.
func errorType(err error) string {
	if err == nil {
		return ""
	}
	for _, t := range errorTypes {
		if errors.Is(err, t.err) {
			return t.word
		}
	}
	if _, ok := errors.AsType[*agent.GitError](err); ok {
		return "git"
	}
	if _, ok := errors.AsType[*orchestrator.NoticeError](err); ok {
		return "" // the engine takes work
	}
	return errorOther
}

// storeErrorType returns the error.type of a failure of the store. It is "" for an error of the function that the store has
// run, which says nothing of the store.
func storeErrorType(err error) string {
	switch {
	case err == nil:
		return ""
	case errors.Is(err, store.ErrUnknownOutcome), errors.Is(err, store.ErrClosed), errors.Is(err, store.ErrFenced),
		errors.Is(err, errs.ErrUnavailable), errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return errorType(err)
	}
	return ""
}
