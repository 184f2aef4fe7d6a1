//go:build unix

package dockerengine

import (
	"errors"
	"syscall"
)

// isRefused reports whether no program listens at an address that exists.
func isRefused(err error) bool { return errors.Is(err, syscall.ECONNREFUSED) }
