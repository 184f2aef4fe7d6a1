package ec2cloud

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"golang.org/x/time/rate"

	"github.com/berth-go/berth/pool"
)

// callTimeout is how long one call may take, with what the SDK repeats of it.
const callTimeout = 30 * time.Second

// call makes one call of AWS, when its bucket lets it, and with a deadline.
func call[In, Out, Opts any](ctx context.Context, bucket *rate.Limiter, action string,
	do func(context.Context, *In, ...func(*Opts)) (*Out, error), in *In, opts ...func(*Opts),
) (*Out, error) {
	if err := bucket.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return nil, tell(ctx, action, ctx.Err())
		}
		// The wait would outlast the deadline.
		return nil, fmt.Errorf("%s: %w: by berth's own limit, which keeps below the account's", action, pool.ErrThrottled)
	}
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := do(callCtx, in, opts...)
	if err != nil {
		return nil, tell(ctx, action, err)
	}
	return out, nil
}

// newRetryer repeats what failed twice. RunInstances is not repeated by the SDK at all: whoever calls Launch again does
// so with the same token, and what a refusal means is only clear of a single try.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 3, 5*time.Second })
}

// limits are berth's own token buckets, each a share of EC2's for the account. Without them one pool could use up what
// all programs of the account need.
type limits struct {
	run, terminate, write, read *rate.Limiter
}

// newLimits takes a share of the sizes and refills per second that AWS documents. Bursts are kept smaller: nothing here
// needs a hundred calls at once.
func newLimits(share float64) limits {
	bucket := func(perSecond, burst float64) *rate.Limiter {
		return rate.NewLimiter(rate.Limit(share*perSecond), max(int(share*burst), 1))
	}
	return limits{run: bucket(2, 5), terminate: bucket(5, 50), write: bucket(5, 20), read: bucket(20, 100)}
}

// readBodies sends request bodies that it has read before. The SDK closes its own as soon as Do returns, which may be while
// net/http still reads from it or looks whether it has more: that fails then, and the connection is closed under an answer
// that is on its way.
type readBodies struct{ aws.HTTPClient }

// Do implements aws.HTTPClient.
func (b readBodies) Do(r *http.Request) (*http.Response, error) {
	if r.Body == nil || r.Body == http.NoBody {
		return b.HTTPClient.Do(r)
	}
	body, err := io.ReadAll(r.Body)
	if err = errors.Join(err, r.Body.Close()); err != nil {
		return nil, err
	}
	changed := *r
	changed.Body = io.NopCloser(bytes.NewReader(body))
	return b.HTTPClient.Do(&changed)
}

// gate lets one caller through at a time, and the others wait as long as their contexts do: unlike a mutex, it may be
// held during a call.
type gate chan struct{}

func newGate() gate { return make(gate, 1) }

func (g gate) enter(ctx context.Context) error {
	select {
	case g <- struct{}{}:
		return nil
	case <-ctx.Done():
		return tell(ctx, "", ctx.Err())
	}
}

func (g gate) leave() { <-g }
