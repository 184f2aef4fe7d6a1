package ec2cloud

import (
	"errors"
	"strings"
	"time"

	"github.com/berth-go/berth/pool"
)

// scope is what a refusal closes for a while, so that the next launch goes elsewhere.
type scope int

const (
	nothing     scope = iota
	theOffering       // an instance type in a zone, on one market
	theMarket         // spot or on demand, everywhere
	bothMarkets       // everything
	theSubnet         // everything in it
	theImage          // what a name was resolved to
)

// How long a refusal closes its scope.
const (
	capacityPause = 3 * time.Minute
	quotaPause    = 10 * time.Minute
	missingPause  = time.Hour // the cause does not go by itself
)

// meaning is what an error code means.
type meaning struct {
	err    error // a sentinel of package pool, or errGone
	closes scope
	pause  time.Duration
}

// errGone says that an object which a call named does not exist, or not yet.
var errGone = errors.New("it does not exist")

var (
	noCapacity = meaning{pool.ErrCapacity, theOffering, capacityPause}
	noQuota    = meaning{pool.ErrQuota, theMarket, quotaPause}
	otherQuota = meaning{pool.ErrQuota, bothMarkets, quotaPause}
	throttled  = meaning{err: pool.ErrThrottled}
	noRight    = meaning{err: pool.ErrAuth}
	never      = meaning{err: pool.ErrPermanent}
	noImage    = meaning{pool.ErrPermanent, theImage, 0}
	noSubnet   = meaning{pool.ErrPermanent, theSubnet, quotaPause}
	over       = meaning{err: pool.ErrLaunchOver}
	gone       = meaning{err: errGone}
)

// meanings are the error codes of EC2, SSM and STS. After another code it is not known what the call has done; but see
// meaningOf.
var meanings = map[string]meaning{
	"InsufficientInstanceCapacity":         noCapacity,
	"InsufficientHostCapacity":             noCapacity,
	"InsufficientReservedInstanceCapacity": noCapacity,
	"InsufficientCapacity":                 noCapacity,
	"InsufficientVolumeCapacity":           noCapacity,
	"UnfulfillableCapacity":                noCapacity,
	"SpotMaxPriceTooLow":                   noCapacity,
	"SpotInstanceTermination":              noCapacity,                                    // a reason why an instance has ended
	"Unsupported":                          {pool.ErrCapacity, theOffering, missingPause}, // the zone does not have the type
	"InsufficientFreeAddressesInSubnet":    {pool.ErrCapacity, theSubnet, capacityPause},

	"VcpuLimitExceeded":             noQuota,
	"MaxSpotInstanceCountExceeded":  noQuota,
	"InstanceLimitExceeded":         otherQuota,
	"VolumeLimitExceeded":           otherQuota,
	"MaxIOPSLimitExceeded":          otherQuota,
	"NetworkInterfaceLimitExceeded": otherQuota,
	"AddressLimitExceeded":          otherQuota,
	"ResourceLimitExceeded":         otherQuota,
	"PendingVerification":           otherQuota, // the account is new in the region

	"RequestLimitExceeded":      throttled,
	"Throttling":                throttled,
	"ThrottlingException":       throttled,
	"ThrottledException":        throttled,
	"RequestThrottled":          throttled,
	"RequestThrottledException": throttled,
	"EC2ThrottledException":     throttled,
	"TooManyRequestsException":  throttled,
	"BandwidthLimitExceeded":    throttled,
	"SlowDown":                  throttled,

	"AuthFailure":                 noRight,
	"UnauthorizedOperation":       noRight,
	"AccessDenied":                noRight,
	"AccessDeniedException":       noRight,
	"Blocked":                     noRight,
	"ExpiredToken":                noRight,
	"ExpiredTokenException":       noRight,
	"IncompleteSignature":         noRight,
	"InvalidClientTokenId":        noRight,
	"InvalidSignatureException":   noRight,
	"MissingAuthenticationToken":  noRight,
	"NotAuthorized":               noRight,
	"OptInRequired":               noRight,
	"RequestExpired":              noRight, // an expired session, or a wrong clock
	"SignatureDoesNotMatch":       noRight,
	"UnrecognizedClientException": noRight,

	"InvalidAMIID.NotFound":     noImage,
	"InvalidAMIID.Unavailable":  noImage,
	"InvalidAMIID.Malformed":    noImage,
	"InvalidSubnetID.NotFound":  noSubnet,
	"InvalidSubnetID.Malformed": noSubnet,
	"InvalidSubnet.Conflict":    noSubnet,
	"InvalidSubnet":             noSubnet,
	"DefaultVpcDoesNotExist":    never,
	"NotImplemented":            never, // an emulator's, as are the next two
	"NotImplementedException":   never,
	"UnknownOperationException": never,
	"OperationNotPermitted":     never,
	"ParameterNotFound":         never,
	"SpotNotSupported":          never,
	"TagLimitExceeded":          never,
	"UnknownParameter":          never,
	"UnsupportedOperation":      never,
	"VPCIdNotSpecified":         never,
	"ValidationException":       never,
	"ValidationError":           never,

	"IdempotentParameterMismatch":  over,
	"IdempotentInstanceTerminated": over,

	"InvalidInstanceID.NotFound":             gone,
	"InvalidInstanceID.Malformed":            gone,
	"InvalidSpotInstanceRequestID.NotFound":  gone,
	"InvalidSpotInstanceRequestID.Malformed": gone,
}

// folded are the meanings by codes in lower case, because emulators spell them differently.
var folded = func() map[string]meaning {
	m := make(map[string]meaning, len(meanings))
	for code, means := range meanings {
		m[strings.ToLower(code)] = means
	}
	return m
}()

// meaningOf returns the meaning of a code. message distinguishes cases that share a code. The code may be that of a
// StateReason, which begins with Client or Server.
func meaningOf(code, message string) meaning {
	for _, blame := range []string{"Client.", "Server."} {
		code = strings.TrimPrefix(code, blame)
	}
	if code == "AuthFailure" && strings.Contains(message, "Not authorized for images") {
		return noImage // the image is not shared with the account any more; the credentials are fine
	}
	if m, ok := folded[strings.ToLower(code)]; ok {
		return m
	}
	for _, prefix := range []string{"Invalid", "Malformed", "Missing"} {
		if strings.HasPrefix(code, prefix) {
			return never // such a request does not become right later
		}
	}
	return meaning{}
}

// profileMissing reports whether EC2 does not know an instance profile, perhaps because it was made a moment ago.
func profileMissing(err error) bool {
	return err != nil && strings.Contains(err.Error(), "Invalid IAM Instance Profile")
}
