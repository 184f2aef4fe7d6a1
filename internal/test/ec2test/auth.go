package ec2test

import (
	"encoding/base64"
	"net/http"
	"regexp"
	"strings"
	"time"
)

// AccessKey is the access key that every server knows from the start. Any secret key goes with it: signatures are not
// verified.
const AccessKey = "AKIAEC2TEST000000001"

// Account is the ID of the account.
const Account = "123456789012"

const userARN = "arn:aws:iam::" + Account + ":user/berth"

// maxSkew is how far a signature's date may be from the service's clock.
func maxSkew(service string) time.Duration {
	if service == "ec2" {
		return 5 * time.Minute
	}
	return 15 * time.Minute
}

type keys struct {
	known   map[string]bool // false: expired
	refused map[string]bool // actions
}

func (k *keys) init() { *k = keys{map[string]bool{AccessKey: true}, map[string]bool{}} }

// AddKey makes an access key valid, also one that was expired.
func (s *Server) AddKey(id string) { s.setKey(id, true) }

// ExpireKey makes calls with an access key fail as those with an expired session do.
func (s *Server) ExpireKey(id string) { s.setKey(id, false) }

func (s *Server) setKey(id string, valid bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys.known[id] = valid
}

// RemoveKey makes an access key unknown.
func (s *Server) RemoveKey(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.keys.known, id)
}

// Deny takes away the permission for an action. "ec2:CreateTags" is needed for a launch with tags, too, and
// "iam:PassRole" for one with an instance profile.
func (s *Server) Deny(action string) { s.setRefused(action, true) }

// Allow undoes Deny.
func (s *Server) Allow(action string) { s.setRefused(action, false) }

func (s *Server) setRefused(action string, refused bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys.refused[action] = refused
}

// SkewClock sets how far the server's clock is ahead of the client's. EC2 refuses calls as of an unknown key if that is
// more than 5 minutes; the others allow 15, and say what is wrong. Instances are not concerned.
func (s *Server) SkewClock(ahead time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.skew = ahead
}

var authorization = regexp.MustCompile(`^AWS4-HMAC-SHA256 Credential=([^/]+)/(\d{8})/([^/]+)/([^/]+)/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=[0-9a-f]{64}$`)

// parseSignature reads who signed a call, when, and for which service. That there is a signature is checked, its bits
// are not.
func (c *call) parseSignature(h http.Header) error {
	m := authorization.FindStringSubmatch(h.Get("Authorization"))
	if m == nil {
		return fail("AuthFailure", "AWS was not able to validate the provided access credentials")
	}
	c.key, c.region, c.service = m[1], m[3], m[4]
	date := h.Get("X-Amz-Date")
	signed, err := time.Parse("20060102T150405Z", date)
	headers := ";" + m[5] + ";"
	switch {
	case c.service != "ec2" && c.service != "ssm" && c.service != "sts":
		return fail("AuthFailure", "ec2test: no service %q here", c.service)
	case err != nil, !strings.HasPrefix(date, m[2]), !strings.Contains(headers, ";host;"), !strings.Contains(headers, ";x-amz-date;"):
		return fail(c.code("AuthFailure", "SignatureDoesNotMatch", "InvalidSignatureException"), "The request signature does not conform to AWS standards")
	}
	c.signed = signed
	return nil
}

// code is the service's own word for an error.
func (c *call) code(ec2, sts, ssm string) string {
	switch c.service {
	case "sts":
		return sts
	case "ssm":
		return ssm
	}
	return ec2
}

// authenticate checks who makes a call.
func (s *Server) authenticate(c *call, now time.Time) error {
	valid, known := s.keys.known[c.key]
	skewed := now.Sub(c.signed).Abs() > maxSkew(c.service)
	switch {
	case c.service == "ec2" && (!known || skewed):
		return fail("AuthFailure", "AWS was not able to validate the provided access credentials")
	case !known:
		return fail(c.code("", "InvalidClientTokenId", "UnrecognizedClientException"), "The security token included in the request is invalid.")
	case c.region != s.opts.Region:
		return fail(c.code("AuthFailure", "SignatureDoesNotMatch", "InvalidSignatureException"), "Credential should be scoped to a valid region, not '%s'.", c.region)
	case !valid && c.service == "ec2":
		return fail("RequestExpired", "Request has expired.")
	case !valid:
		return fail(c.code("", "ExpiredToken", "ExpiredTokenException"), "The security token included in the request is expired")
	case skewed:
		return fail(c.code("", "SignatureDoesNotMatch", "InvalidSignatureException"), "Signature expired: %s is now more than 15 min from %s",
			c.signed.Format(time.RFC3339), now.UTC().Format(time.RFC3339))
	}
	return nil
}

// authorize checks that the caller may make a call.
func (s *Server) authorize(c *call) error {
	if c.service == "sts" || !s.keys.refused[c.action] {
		return nil // GetCallerIdentity needs no permission
	}
	if c.service == "ssm" {
		return fail("AccessDeniedException", "User: %s is not authorized to perform: %s because no identity-based policy allows the %[2]s action", userARN, c.action)
	}
	return denied(c.action)
}

// allowed checks another permission that a call of EC2 needs.
func (s *Server) allowed(action string) error {
	if s.keys.refused[action] {
		return denied(action)
	}
	return nil
}

func denied(action string) error {
	return fail("UnauthorizedOperation", "You are not authorized to perform this operation. User: %s is not authorized to perform: %s because no identity-based policy allows the %[2]s action. Encoded authorization failure message: %s",
		userARN, action, base64.RawURLEncoding.EncodeToString([]byte("denied "+action)))
}
