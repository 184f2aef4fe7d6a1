package ec2test

import (
	"strings"
	"time"
)

// bucket holds tokens. Each call takes one, and fails if there is none.
type bucket struct {
	size, refill float64 // tokens, and tokens per second
	tokens       float64
	at           time.Time // the time of tokens
}

func (b *bucket) take(n float64, now time.Time) bool {
	if b.at.IsZero() {
		b.tokens = b.size
	} else {
		b.tokens = min(b.size, b.tokens+b.refill*now.Sub(b.at).Seconds())
	}
	b.at = now
	if b.tokens < n {
		return false
	}
	b.tokens -= n
	return true
}

// rates has the documented sizes and refills per second of the buckets of EC2 that differ from others of their kind.
var rates = map[string][2]float64{
	"ec2:RunInstances":       {5, 2},
	"ec2:TerminateInstances": {100, 5},
	"ec2:CreateTags":         {100, 10},

	"read":       {100, 20},
	"unfiltered": {50, 10}, // a read of everything at once
	"write":      {50, 5},

	"resource ec2:RunInstances":       {1000, 2}, // a token per instance
	"resource ec2:TerminateInstances": {1000, 20},
}

type throttle struct {
	factor  float64
	buckets map[string]*bucket
}

// Throttle limits the rate of EC2's calls by the token buckets that AWS documents, times a factor: 1 is the rate of
// AWS, 0.1 a tenth of every bucket and its refill, 0 no limit. The buckets are full afterwards.
func (s *Server) Throttle(factor float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.throttle = throttle{factor, map[string]*bucket{}}
}

// take takes tokens from the bucket of a name. rate names the size and the refill of the bucket.
func (t *throttle) take(name, rate string, n int, now time.Time) error {
	if t.factor <= 0 {
		return nil
	}
	b := t.buckets[name]
	if b == nil {
		size, refill := rates[rate][0]*t.factor, rates[rate][1]*t.factor
		b = &bucket{size: max(size, 1), refill: refill}
		t.buckets[name] = b
	}
	if !b.take(float64(n), now) {
		return fail("RequestLimitExceeded", "Request limit exceeded.")
	}
	return nil
}

// request takes the token of a call.
func (t *throttle) request(c *call, a action, now time.Time) error {
	if c.service != "ec2" {
		return nil
	}
	rate := c.action
	if _, own := rates[rate]; !own {
		rate = "read"
		if a.mutating {
			rate = "write"
		} else if unfiltered(c) {
			rate = "unfiltered"
		}
	}
	return t.take(c.action+" "+rate, rate, 1, now)
}

// resources takes a token for each instance of a call.
func (t *throttle) resources(action string, n int, now time.Time) error {
	return t.take("resource "+action, "resource "+action, n, now)
}

// unfiltered reports whether a call asks for everything at once.
func unfiltered(c *call) bool {
	for name := range c.form {
		list := strings.HasSuffix(name, ".1") // of IDs
		if list || strings.HasPrefix(name, "Filter.") || name == "MaxResults" || name == "InstanceId" {
			return false
		}
	}
	return strings.HasPrefix(c.name(), "Describe")
}
