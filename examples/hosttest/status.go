package hosttest

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/berth-go/berth"
)

// Answer makes an http handler of do. It sends do's value as JSON, and an error as its status and text.
func Answer(do func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := do(r)
		switch {
		case err != nil:
			Refuse(w, err)
		case value == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(value)
		}
	}
}

// retryAfter is when a client may try again, in seconds.
const retryAfter = 10

// Refuse sends an error as its status and text. The messages of berth and git hold no credential.
func Refuse(w http.ResponseWriter, err error) {
	code := Status(err)
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", strconv.Itoa(retryAfter))
	}
	http.Error(w, strings.TrimSpace(err.Error()), code)
}

// Status returns the HTTP status that tells a client what to do about an error.
func Status(err error) int {
	is := func(target error) bool { return errors.Is(err, target) }
	_, start := errors.AsType[*berth.StartError](err)
	switch {
	case is(berth.ErrInvalid):
		return http.StatusBadRequest
	case is(berth.ErrAccessDenied), is(berth.ErrRevoked):
		return http.StatusForbidden
	case is(berth.ErrQuota):
		return http.StatusTooManyRequests
	case is(berth.ErrSessionNotFound), is(errNoRun):
		return http.StatusNotFound
	case is(berth.ErrTaskConflict):
		return http.StatusConflict // the ID belongs to another task
	case is(berth.ErrExpired), is(berth.ErrTerminated), is(berth.ErrOverLimit):
		return http.StatusGone // it ended on purpose, or for what it did
	case is(berth.ErrInstanceLost), is(berth.ErrContainerLost):
		return http.StatusBadGateway // the place and its files are lost: PUT the task again
	case passes(err):
		return http.StatusServiceUnavailable // the same request, later or at another replica
	case start:
		return http.StatusUnprocessableEntity // git's own message: no such repository or branch, no access
	}
	return http.StatusInternalServerError
}

// passes reports whether the same request may succeed later, or at another replica.
func passes(err error) bool {
	is := func(target error) bool { return errors.Is(err, target) }
	return berth.Retryable(err) || is(berth.ErrClosed) || is(berth.ErrDestroying) || // another replica, another pool
		is(berth.ErrOutputCut) || // the handlers wait only for commands that may be repeated
		is(context.DeadlineExceeded) || is(context.Canceled) // of the request
}
