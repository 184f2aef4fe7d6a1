package ec2cloud

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/smithy-go"
	smithyhttp "github.com/aws/smithy-go/transport/http"

	"github.com/berth-go/berth/pool"
)

// answered reports whether AWS, or another server, answered a call with an error of any kind.
func answered(err error) bool {
	var response *smithyhttp.ResponseError
	return errors.As(err, &response) && response.HTTPStatusCode() >= http.StatusBadRequest
}

// statusOf reports whether a call was answered with one of some HTTP statuses.
func statusOf(err error, codes ...int) bool {
	var response *smithyhttp.ResponseError
	return errors.As(err, &response) && slices.Contains(codes, response.HTTPStatusCode())
}

// failures are the error codes of failures of AWS itself, with any HTTP status.
var failures = []string{
	"InternalError", "InternalFailure", "InternalServerError", "InternalServiceError", "ServerInternal", "ServiceException",
	"ServiceUnavailable", "ServiceUnavailableException", "Unavailable", "RequestTimeout", "RequestTimeoutException",
}

// transient reports whether a call has failed for a reason that goes by and has nothing to do with the settings: a failure of
// the server, too many calls, or an incomplete answer. If there was no answer at all, see noAnswer.
func transient(err error) bool {
	if errors.Is(err, errIncomplete) || errors.Is(err, errNoAnswerOfAWS) || errors.Is(err, pool.ErrThrottled) {
		return true
	}
	var e *callError
	var response *smithyhttp.ResponseError
	var broken *smithy.DeserializationError
	switch {
	case !errors.As(err, &e) || e.means.err != nil || statusOf(err, http.StatusNotImplemented):
		return false
	case slices.ContainsFunc(failures, func(code string) bool { return strings.EqualFold(code, e.code) }):
		return true
	case errors.As(err, &response):
		status := response.HTTPStatusCode()
		return status >= 500 || status == http.StatusTooManyRequests ||
			status == http.StatusRequestTimeout || status/100 == 2
	}
	return errors.As(err, &broken)
}

// unsupported reports whether an endpoint that is not EC2's own does not know a call. Its answer then has a certain code or
// status, or no code at all, such as a page of HTML.
func unsupported(err error) bool {
	var e *callError
	if !answered(err) || !errors.As(err, &e) {
		return false
	}
	return statusOf(err, http.StatusNotFound, http.StatusMethodNotAllowed, http.StatusNotImplemented) ||
		e.code == "" && !transient(err) ||
		saysCode(err, "InvalidAction", "NotImplemented", "NotImplementedException", "UnknownOperationException")
}

var dryRun = regexp.MustCompile(`(?i)dry.?run`)

// noDryRun reports whether an endpoint refuses a call because it knows no dry runs.
func noDryRun(err error) bool {
	return err != nil && answered(err) && !saysCode(err, "DryRunOperation") && !forbidden(err) && dryRun.MatchString(err.Error())
}

// forbidden reports whether an error says that an action is not allowed.
func forbidden(err error) bool {
	return saysCode(err, "UnauthorizedOperation", "AccessDenied", "AccessDeniedException")
}

// noAnswer reports whether nothing has answered a call.
func noAnswer(err error) bool {
	_, unsent := errors.AsType[*smithyhttp.RequestSendError](err)
	return (unsent || errors.Is(err, context.DeadlineExceeded)) && !transient(err)
}
