package ec2cloud_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/aws/smithy-go"

	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
)

func TestWhatCodesMean(t *testing.T) {
	sentinels := []error{pool.ErrCapacity, pool.ErrQuota, pool.ErrThrottled, pool.ErrAuth, pool.ErrPermanent, pool.ErrLaunchOver, ec2cloud.ErrGone}
	for _, c := range []struct {
		code, message string
		want          error // nil = nobody knows what has happened
	}{
		{"InsufficientInstanceCapacity", "", pool.ErrCapacity},
		{"Server.InsufficientInstanceCapacity", "", pool.ErrCapacity},
		{"Unsupported", "Your requested instance type (t9) is not supported in your requested Availability Zone", pool.ErrCapacity},
		{"InsufficientFreeAddressesInSubnet", "", pool.ErrCapacity},
		{"SpotMaxPriceTooLow", "", pool.ErrCapacity},
		{"VcpuLimitExceeded", "", pool.ErrQuota},
		{"MaxSpotInstanceCountExceeded", "", pool.ErrQuota},
		{"InstanceLimitExceeded", "", pool.ErrQuota},
		{"Client.VolumeLimitExceeded", "", pool.ErrQuota},
		{"RequestLimitExceeded", "", pool.ErrThrottled},
		{"ThrottlingException", "", pool.ErrThrottled},
		{"AuthFailure", "AWS was not able to validate the provided access credentials", pool.ErrAuth},
		{"AuthFailure", "Not authorized for images: [ami-1]", pool.ErrPermanent},
		{"UnauthorizedOperation", "", pool.ErrAuth},
		{"ExpiredToken", "", pool.ErrAuth},
		{"RequestExpired", "", pool.ErrAuth},
		{"InvalidAMIID.NotFound", "", pool.ErrPermanent},
		{"InvalidSubnetID.NotFound", "", pool.ErrPermanent},
		{"InvalidParameterValue", "", pool.ErrPermanent},
		{"InvalidUserData.Malformed", "", pool.ErrPermanent},
		{"MissingParameter", "", pool.ErrPermanent},
		{"UnsupportedOperation", "", pool.ErrPermanent},
		{"IdempotentParameterMismatch", "", pool.ErrLaunchOver},
		{"IdempotentInstanceTerminated", "", pool.ErrLaunchOver},
		{"InvalidInstanceID.NotFound", "", ec2cloud.ErrGone},
		{"InvalidInstanceID.Malformed", "", ec2cloud.ErrGone},
		{"InternalError", "", nil},
		{"InternalFailure", "", nil},
		{"Unavailable", "", nil},
		{"ServiceUnavailable", "", nil},
		{"SomethingThatIsNew", "", nil},
	} {
		err := ec2cloud.Translated(c.code, c.message)
		for _, s := range sentinels {
			if is := errors.Is(err, s); is != (s == c.want) {
				t.Errorf("%s %q: that it is %q is %t", c.code, c.message, s, is)
			}
		}
		var api smithy.APIError
		if !errors.As(err, &api) || api.ErrorCode() != c.code {
			t.Errorf("%v does not lead to what the SDK has returned", err)
		}
	}
}

func TestMessagesAreClean(t *testing.T) {
	for _, c := range []struct{ message, want string }{
		{"plain", "ec2:RunInstances: X: plain"},
		{"not allowed. Encoded authorization failure message: AbCd-_09", "ec2:RunInstances: X: not allowed"},
		{"two\n\tlines \x1b[31mred\x1b[0m\x00", "ec2:RunInstances: X: two lines red"},
		{"the key AKIAIOSFODNN7EXAMPLE and ASIAIOSFODNN7EXAMPLE.", "ec2:RunInstances: X: the key … and …."},
		{"-----BEGIN EC PRIVATE KEY-----\nabc\n-----END EC PRIVATE KEY----- rest", "ec2:RunInstances: X: … rest"},
		{"bad \xff byte", "ec2:RunInstances: X: bad \uFFFD byte"},
	} {
		if got := ec2cloud.Translated("X", c.message).Error(); got != c.want {
			t.Errorf("%q: %q, want %q", c.message, got, c.want)
		}
	}
	if n := len(ec2cloud.Translated("X", strings.Repeat("é", 5000)).Error()); n > 1100 {
		t.Errorf("%d bytes", n)
	}
}
