// Package errs holds the errors that the parts of berth return to its users, and how the store keeps them. Package berth
// documents each of them, and exports it under the same name.
package errs

import "errors"

// The errors of package berth.
var (
	ErrSessionNotFound = errors.New("berth: no such session")
	ErrSessionStarting = errors.New("berth: the session is still being created")
	ErrTaskConflict    = errors.New("berth: the task ID is in use by another session")
	ErrNoCapacity      = errors.New("berth: no capacity")
	ErrAccessDenied    = errors.New("berth: access denied")
	ErrQuota           = errors.New("berth: over the user's quota")
	ErrRevoked         = errors.New("berth: the user's access was revoked")
	ErrInvalid         = errors.New("berth: invalid")
	ErrInstanceLost    = errors.New("berth: the instance was lost")
	ErrContainerLost   = errors.New("berth: the container was lost")
	ErrOutOfMemory     = errors.New("berth: out of memory")
	ErrUnsaved         = errors.New("berth: the session's work was not saved")
	ErrOverLimit       = errors.New("berth: the session used more than it may")
	ErrExpired         = errors.New("berth: the session expired")
	ErrTerminated      = errors.New("berth: the session was terminated")
	ErrOutputCut       = errors.New("berth: the command's output was cut off")
	ErrAbandoned       = errors.New("berth: the session was abandoned")
	ErrSuspended       = errors.New("berth: this process cannot renew its lease in the store")
	ErrNoPlanner       = errors.New("berth: no process plans the pool")
	ErrUnavailable     = errors.New("berth: unavailable")
	ErrDestroying      = errors.New("berth: the pool is being destroyed")
	ErrClosed          = errors.New("berth: closed")
)
