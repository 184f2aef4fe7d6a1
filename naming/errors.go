package naming

import (
	"errors"
	"fmt"
)

// ErrInvalid is wrapped by every error of this package.
var ErrInvalid = errors.New("naming: invalid")

// invalid reports that subject ("remote", "branch") breaks a rule. why must not
// hold any part of a remote: see the package comment.
func invalid(subject, why string) error {
	return fmt.Errorf("%w %s: %s", ErrInvalid, subject, why)
}

// badRemote is invalid for a remote, whose form callers most often get wrong.
func badRemote(why string) error {
	return invalid("remote", why)
}
