package ec2cloud

import (
	"context"

	"github.com/aws/smithy-go"
)

// CalledActions and ImpliedActions are for the tests of what the driver may do.
func CalledActions() []string  { return calledActions }
func ImpliedActions() []string { return impliedActions }

// Told is what becomes of an answer of AWS.
func Told(code, message string) error {
	return tell(context.Background(), "ec2:RunInstances", &smithy.GenericAPIError{Code: code, Message: message})
}

// ErrGone says that what a call named does not exist.
var ErrGone = errGone
