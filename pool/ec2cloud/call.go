package ec2cloud

import (
	"context"
	"fmt"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/aws/retry"
	"golang.org/x/sync/semaphore"
	"golang.org/x/time/rate"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/pool"
)

// callTimeout bounds one call, with the SDK's repetitions of it.
const callTimeout = 30 * time.Second

// call makes one call of AWS with a deadline, as soon as its bucket has a token. read makes plain values of the answer.
func call[In, Out, Opts, T any](ctx context.Context, bucket *rate.Limiter, action string,
	do func(context.Context, *In, ...func(*Opts)) (*Out, error), read func(*Out) (T, error), in *In, opts ...func(*Opts),
) (none T, err error) {
	if err := bucket.Wait(ctx); err != nil {
		if ctx.Err() != nil {
			return none, translate(ctx, action, ctx.Err())
		}
		// The wait would end after the deadline.
		return none, fmt.Errorf("%s: %w: by berth's own limit, which is below the account's", action, pool.ErrThrottled)
	}
	callCtx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	out, err := do(callCtx, in, opts...)
	if err != nil {
		return none, translate(ctx, action, err)
	}
	answer, err := read(out)
	if err != nil {
		return none, fmt.Errorf("%s: %w", action, err)
	}
	return answer, nil
}

// newRetryer returns a Retryer that repeats a failed call twice. The SDK does not repeat RunInstances at all: the caller of
// Launch repeats it with the same token, and the meaning of a refusal is clear only if there was a single try.
func newRetryer() aws.Retryer {
	return retry.NewStandard(func(o *retry.StandardOptions) { o.MaxAttempts, o.MaxBackoff = 3, 5*time.Second })
}

// limits are berth's own token buckets, each a share of EC2's bucket for the account. Without them one pool could use up
// the calls of all programs of the account.
type limits struct {
	run, terminate, write, read *rate.Limiter
}

// newLimits takes a share of the rates that AWS documents. Bursts are smaller than AWS's: nothing here needs a hundred calls
// at once.
func newLimits(share float64) limits {
	bucket := func(perSecond, burst float64) *rate.Limiter {
		return rate.NewLimiter(rate.Limit(share*perSecond), max(int(share*burst), 1))
	}
	return limits{run: bucket(2, 5), terminate: bucket(5, 50), write: bucket(5, 20), read: bucket(20, 100)}
}

// gate lets one caller through at a time. The others wait as long as their contexts do: unlike a mutex, it may be held
// during a call.
type gate struct{ *semaphore.Weighted }

func newGate() gate { return gate{semaphore.NewWeighted(1)} }

func (g gate) enter(ctx context.Context) error {
	if g.Acquire(ctx, 1) != nil {
		return translate(ctx, "", ctx.Err())
	}
	return nil
}

func (g gate) leave() { g.Release(1) }

// pause waits, or returns why the context has ended.
func pause(ctx context.Context, d time.Duration) error {
	if loop.Sleep(ctx, d) != nil {
		return translate(ctx, "", ctx.Err())
	}
	return nil
}
