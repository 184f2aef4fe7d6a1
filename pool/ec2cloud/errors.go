package ec2cloud

import (
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"
	"time"

	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/berth-go/berth/pool"
)

// scope is what a refusal closes for a while: the next launch goes elsewhere.
type scope int

const (
	nothing     scope = iota
	theOffering       // an instance type in a zone, on one market
	theMarket         // spot or on demand, everywhere
	bothMarkets       // everything
	theSubnet         // everything in it
	theImage          // what a name was resolved to
)

// How long what was refused stays closed.
const (
	capacityPause = 3 * time.Minute
	quotaPause    = 10 * time.Minute
	missingPause  = time.Hour // of what will not come by itself
)

// meaning is what an error code says.
type meaning struct {
	is     error // a sentinel of package pool, or errGone
	closes scope
	pause  time.Duration
}

// errGone says that what a call named does not exist, or not yet.
var errGone = errors.New("it does not exist")

var (
	noCapacity = meaning{pool.ErrCapacity, theOffering, capacityPause}
	noQuota    = meaning{pool.ErrQuota, theMarket, quotaPause}
	otherQuota = meaning{pool.ErrQuota, bothMarkets, quotaPause}
	throttled  = meaning{is: pool.ErrThrottled}
	noRight    = meaning{is: pool.ErrAuth}
	never      = meaning{is: pool.ErrPermanent}
	noImage    = meaning{pool.ErrPermanent, theImage, 0}
	noSubnet   = meaning{pool.ErrPermanent, theSubnet, quotaPause}
	over       = meaning{is: pool.ErrLaunchOver}
	gone       = meaning{is: errGone}
)

// meanings are the error codes of EC2, SSM and STS. What is not here says nothing of what has happened; see meaningOf.
var meanings = map[string]meaning{
	"InsufficientInstanceCapacity":         noCapacity,
	"InsufficientHostCapacity":             noCapacity,
	"InsufficientReservedInstanceCapacity": noCapacity,
	"InsufficientCapacity":                 noCapacity,
	"InsufficientVolumeCapacity":           noCapacity,
	"UnfulfillableCapacity":                noCapacity,
	"SpotMaxPriceTooLow":                   noCapacity,
	"SpotInstanceTermination":              noCapacity,                                    // why an instance has ended
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
	"PendingVerification":           otherQuota, // of an account that is new in the region

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
	"RequestExpired":              noRight, // by an expired session, or a clock that is wrong
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
	"NotImplemented":            never, // by emulators, as the next two
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

// folded are the meanings by codes in lower case: emulators do not agree with EC2 on that.
var folded = func() map[string]meaning {
	m := make(map[string]meaning, len(meanings))
	for code, means := range meanings {
		m[strings.ToLower(code)] = means
	}
	return m
}()

// meaningOf returns what a code says; message tells cases apart that share one. The code may be that of a StateReason,
// which begins with who is to blame.
func meaningOf(code, message string) meaning {
	for _, blame := range []string{"Client.", "Server."} {
		code = strings.TrimPrefix(code, blame)
	}
	if code == "AuthFailure" && strings.Contains(message, "Not authorized for images") {
		return noImage // it is not shared with the account any more; the credentials are fine
	}
	if m, ok := folded[strings.ToLower(code)]; ok {
		return m
	}
	for _, prefix := range []string{"Invalid", "Malformed", "Missing"} {
		if strings.HasPrefix(code, prefix) {
			return never // a request that EC2 finds wrong now is wrong for ever
		}
	}
	return meaning{}
}

// lateProfile says that EC2 does not know an instance profile, perhaps because it was made a moment ago.
func lateProfile(err error) bool {
	return err != nil && strings.Contains(err.Error(), "Invalid IAM Instance Profile")
}

// answered reports whether a call failed by an answer, whatever that says.
func answered(err error) bool {
	var response *smithyhttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusBadRequest
}

// statusOf reports whether a call was answered with one of some HTTP statuses.
func statusOf(err error, codes ...int) bool {
	var response *smithyhttp.ResponseError
	return errors.As(err, &response) && slices.Contains(codes, response.HTTPStatusCode())
}

// unserved reports whether an endpoint that is not EC2's own does not know a call: by its code, by its status, or by a
// failure without a code, such as a page of HTML.
func unserved(err error) bool {
	var e *callError
	if !answered(err) || !errors.As(err, &e) {
		return false
	}
	return statusOf(err, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented) || e.code == "" || saysCode(err, "InvalidAction", "NotImplemented", "NotImplementedException", "UnknownOperationException")
}

var dryRun = regexp.MustCompile(`(?i)dry.?run`)

// noDryRun reports whether an endpoint refuses a call since it knows no dry runs.
func noDryRun(err error) bool {
	return err != nil && answered(err) && !saysCode(err, "DryRunOperation") && !refused(err) && dryRun.MatchString(err.Error())
}
