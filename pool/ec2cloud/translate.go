package ec2cloud

import (
	"context"
	"errors"
	"net/http"
	"regexp"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/ratelimit"
	"github.com/aws/smithy-go"
)

// callError is a call that failed, in AWS' own words.
type callError struct {
	action string // e.g. "ec2:RunInstances"
	code   string // "" if AWS did not answer
	text   string
	means  meaning
	causes []error
}

// Error implements error.
func (e *callError) Error() string {
	parts := slices.DeleteFunc([]string{e.action, e.code, e.text}, func(part string) bool { return part == "" })
	return strings.Join(parts, ": ")
}

// Unwrap lets errors.Is find the error's meaning, and errors.As the SDK's error.
func (e *callError) Unwrap() []error { return e.causes }

// translate turns an error of the SDK into one that package pool understands. If AWS has answered, its answer counts, also if
// the context has ended meanwhile.
func translate(ctx context.Context, action string, err error) error {
	e := &callError{action: action, causes: []error{err}}
	var api smithy.APIError
	var spent ratelimit.QuotaExceededError
	var unknown *credentialsError
	switch {
	case ctx.Err() != nil && !errors.As(err, &api):
		e.text, e.causes = context.Cause(ctx).Error(), []error{ctx.Err(), context.Cause(ctx)}
	case errors.As(err, &unknown):
		e.text, e.means = "no credentials: "+clean(unknown.err.Error()), noRight
	case errors.As(err, &spent):
		// The SDK has failed so often that it does not repeat calls for a while.
		e.text, e.means = clean(err.Error()), throttled
	case errors.As(err, &api):
		e.code, e.text = clean(api.ErrorCode()), clean(api.ErrorMessage())
		e.means = meaningOf(e.code, e.text)
	default:
		e.text = clean(err.Error())
	}
	if e.means.err == nil && statusOf(err, http.StatusUnauthorized, http.StatusForbidden) {
		e.means = noRight // an emulator may use any code
	}
	if e.means.err != nil {
		e.causes = append(e.causes, e.means.err)
	}
	return e
}

// saysCode reports whether AWS answered with one of some codes.
func saysCode(err error, codes ...string) bool {
	var e *callError
	return errors.As(err, &e) && slices.Contains(codes, e.code)
}

// credentialsError is a failure to get credentials, so that AWS was not called.
type credentialsError struct{ err error }

// Error implements error.
func (e *credentialsError) Error() string { return e.err.Error() }

// Unwrap returns the cause.
func (e *credentialsError) Unwrap() error { return e.err }

// markingProvider marks the failures of a provider of credentials, because the SDK's own errors do not show their origin.
type markingProvider struct{ aws.CredentialsProvider }

// markFailures returns a provider whose failures are marked. It leaves anonymous credentials alone, which the SDK recognizes
// by their type.
func markFailures(p aws.CredentialsProvider) aws.CredentialsProvider {
	if p == nil || aws.IsCredentialsProvider(p, (*aws.AnonymousCredentials)(nil)) {
		return p
	}
	return markingProvider{p}
}

// Retrieve implements aws.CredentialsProvider.
func (p markingProvider) Retrieve(ctx context.Context) (aws.Credentials, error) {
	c, err := p.CredentialsProvider.Retrieve(ctx)
	if err != nil {
		err = &credentialsError{err}
	}
	return c, err
}

// maxText is how many bytes of a message of AWS are kept.
const maxText = 1000

var (
	// encoded is a long blob that only an administrator can decode.
	encoded = regexp.MustCompile(`\.? *Encoded authorization failure message: *\S+`)
	// secrets are access keys, session tokens, and keys in PEM, which must not be logged.
	secrets = regexp.MustCompile(`\b(AKIA|ASIA)[A-Z0-9]{12,}\b|\b(IQoJ|FwoG|FQoG)[A-Za-z0-9+/=]{40,}|(?s)-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(-----END [A-Z ]*PRIVATE KEY-----|$)`)
	// escapes are control sequences for terminals.
	escapes = regexp.MustCompile(`\x1b(\[[0-?]*[ -/]*[@-~]|[@-Z\\-_])`)
)

// clean makes a message of AWS fit for a log and a record: one line, bounded, without anything like a credential.
func clean(text string) string {
	text = encoded.ReplaceAllString(scrub(text), "")
	text = strings.Join(strings.Fields(text), " ")
	if len(text) > maxText {
		text = strings.ToValidUTF8(text[:maxText], "") + "…"
	}
	return text
}

// scrub removes anything like a credential, and characters that are not text.
func scrub(text string) string {
	text = secrets.ReplaceAllString(escapes.ReplaceAllString(text, ""), "…")
	return strings.Map(func(r rune) rune {
		if r == '\n' || r == '\t' || r >= ' ' && r != 0x7f {
			return r
		}
		return -1
	}, strings.ToValidUTF8(text, "\uFFFD"))
}
