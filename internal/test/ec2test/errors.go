package ec2test

import (
	"fmt"
	"net/http"
	"strings"
)

// apiError is an error in AWS' form.
type apiError struct {
	status        int
	code, message string
}

func (e *apiError) Error() string { return e.code + ": " + e.message }

// statuses has the HTTP statuses of the codes with another status than 400. AWS also answers a lack of capacity with a
// status of 500, after which SDKs repeat the call by themselves.
var statuses = map[string]int{
	"AuthFailure":                  http.StatusUnauthorized,
	"UnauthorizedOperation":        http.StatusForbidden,
	"DryRunOperation":              http.StatusPreconditionFailed,
	"InsufficientInstanceCapacity": http.StatusInternalServerError,
	"InternalError":                http.StatusInternalServerError,
	"InternalFailure":              http.StatusInternalServerError,
	"RequestLimitExceeded":         http.StatusServiceUnavailable,
	"ServiceUnavailable":           http.StatusServiceUnavailable,
	"Unavailable":                  http.StatusServiceUnavailable,
	"ExpiredToken":                 http.StatusForbidden, // of STS, as are the next
	"InvalidClientTokenId":         http.StatusForbidden,
	"SignatureDoesNotMatch":        http.StatusForbidden,
}

func fail(code, format string, args ...any) *apiError {
	status := statuses[code]
	if status == 0 {
		status = http.StatusBadRequest
	}
	return &apiError{status, code, fmt.Sprintf(format, args...)}
}

// messages has the messages of errors that a test injects by their code.
var messages = map[string]string{
	"InternalError":                "An internal error has occurred",
	"Unavailable":                  "The service is unavailable. Please try again shortly.",
	"RequestLimitExceeded":         "Request limit exceeded.",
	"InsufficientInstanceCapacity": "Insufficient capacity.",
}

var errDryRun = fail("DryRunOperation", "Request would have succeeded, but DryRun flag is set.")

func invalid(name, value, why string) *apiError {
	return fail("InvalidParameterValue", "Value (%s) for parameter %s is invalid. %s", value, name, why)
}

func combination(format string, args ...any) *apiError {
	return fail("InvalidParameterCombination", format, args...)
}

// notFound returns EC2's error for things of a kind that do not exist: notFound("InvalidInstanceID", "instance", …).
func notFound(code, kind string, ids []string) *apiError {
	if len(ids) == 1 {
		return fail(code+".NotFound", "The %s ID '%s' does not exist", kind, ids[0])
	}
	return fail(code+".NotFound", "The %s IDs '%s' do not exist", kind, strings.Join(ids, ", "))
}
