package ec2cloud

import (
	"context"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/smithy-go"
)

// CalledActions and ImpliedActions are for the tests of permissions.
func CalledActions() []string  { return calledActions }
func ImpliedActions() []string { return impliedActions }
func PriceActions() []string   { return priceActions }

// Translated returns the translation of an error of AWS.
func Translated(code, message string) error {
	return translate(context.Background(), "ec2:RunInstances", &smithy.GenericAPIError{Code: code, Message: message})
}

// ErrGone says that an object which a call named does not exist.
var ErrGone = errGone

// GetParameter asks SSM for a parameter.
func GetParameter(ctx context.Context, cfg aws.Config, name string) error {
	_, err := newSSMClient(cfg).GetParameter(ctx, &parameterInput{name})
	return err
}
