package ec2cloud_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"

	"github.com/berth-go/berth/internal/test/ec2test"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/pool/ec2cloud"
)

func TestFault34Throttled(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		f := r.prepare("launch-1")
		for _, code := range []string{"RequestLimitExceeded", "Throttling", "ThrottlingException"} {
			r.server.Fail(run, 1, code)
			_, err := r.cloud.Launch(r.Context(), "launch-1", f)
			r.want(err, pool.ErrThrottled)
			r.server.Fail(list, 3, code)
			_, err = r.cloud.List(r.Context())
			r.want(err, pool.ErrThrottled)
		}
	})
}

// TestFault34OwnLimits: the driver's own limits keep the pool below those of EC2.
func TestFault34OwnLimits(t *testing.T) {
	opts := quick
	opts.Throttle = 0.6
	inRig(t, opts, nil, func(r *rig) {
		for range 200 {
			r.listed("")
		}
		for _, id := range r.many(10) {
			r.end(id)
		}
		for _, q := range r.server.Requests("") {
			if q.Error != "" {
				r.Fatalf("%s: %s", q.Action, q.Error)
			}
		}
		// A call that has no time to wait for its turn fails.
		ctx, cancel := context.WithTimeout(r.Context(), 300*time.Millisecond)
		defer cancel()
		var err error
		for n := range 20 {
			id := fmt.Sprint("late-", n)
			if _, err = r.cloud.Launch(ctx, id, r.prepare(id)); err != nil {
				break
			}
		}
		r.want(err, pool.ErrThrottled)
	})
}

func TestFault35SDKRunsOutOfRetries(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		r.server.Fail(list, 1000, "InternalError")
		var err error
		for range 100 {
			if _, err = r.cloud.List(r.Context()); errors.Is(err, pool.ErrThrottled) {
				break
			}
			r.want(err, nil)
		}
		r.want(err, pool.ErrThrottled)
	})
}

func TestAuth(t *testing.T) {
	inRig(t, quick, nil, func(r *rig) {
		f := r.prepare("launch-1")
		refused := func(what string) {
			r.Helper()
			_, err := r.cloud.Launch(r.Context(), "launch-1", f)
			r.want(err, pool.ErrAuth)
			_, err = r.cloud.List(r.Context())
			r.want(err, pool.ErrAuth)
			if err := r.cloud.Preflight(r.Context()); !errors.Is(err, pool.ErrAuth) {
				r.Errorf("%s: Preflight = %v", what, err)
			}
		}
		r.server.ExpireKey(ec2test.AccessKey)
		refused("an expired session")
		r.server.RemoveKey(ec2test.AccessKey)
		refused("an unknown key")
		r.server.AddKey(ec2test.AccessKey)
		r.server.Deny(run)
		_, err := r.cloud.Launch(r.Context(), "launch-1", f)
		r.want(err, pool.ErrAuth)
		if strings.Contains(err.Error(), "Encoded") {
			r.Errorf("a blob that nobody can read: %v", err)
		}
		if n := r.alive(); n != 0 {
			r.Errorf("%d instances", n)
		}
	})
}

// noCredentials is the SDK's provider on a machine without credentials.
type noCredentials struct{}

func (noCredentials) Retrieve(context.Context) (aws.Credentials, error) {
	return aws.Credentials{}, errors.New("no EC2 IMDS role found, key AKIAIOSFODNN7EXAMPLE")
}

func TestCredentialsThatCannotBeResolved(t *testing.T) {
	change := func(r *rig) { r.opts.AWS.Credentials = aws.NewCredentialsCache(noCredentials{}) }
	inRig(t, quick, change, func(r *rig) {
		_, err := r.cloud.List(r.Context())
		r.want(err, pool.ErrAuth)
		if strings.Contains(err.Error(), "AKIAIOSFODNN7EXAMPLE") {
			r.Error(err)
		}
		err = r.cloud.Preflight(r.Context())
		if n := problems(err); n != 1 || !errors.Is(err, pool.ErrAuth) {
			r.Errorf("%d problems: %v", n, err)
		}
	})
}

// problems returns how many problems an error of Preflight has.
func problems(err error) int {
	var e *ec2cloud.PreflightError
	if !errors.As(err, &e) {
		return -1
	}
	return len(e.Problems)
}

// TestIdlePoolIsCheap: an idle pool may cost 400 calls an hour.
func TestIdlePoolIsCheap(t *testing.T) {
	for name, c := range map[string]struct {
		spot ec2cloud.Spot
		size int
		scan time.Duration
	}{"on demand": {ec2cloud.SpotNever, 100, 10 * time.Second}, "spot": {ec2cloud.SpotOnly, 10, 12 * time.Second}} {
		t.Run(name, func(t *testing.T) {
			inRig(t, quick, func(r *rig) { r.opts.Spot = c.spot }, func(r *rig) {
				r.many(c.size)
				before := len(r.server.Requests(""))
				for begun := time.Now(); time.Since(begun) < 10*time.Minute; time.Sleep(c.scan) {
					if all, err := r.cloud.List(r.Context()); err != nil || len(all) != c.size {
						r.Fatal(len(all), err)
					}
					if _, err := r.cloud.Generation(r.Context()); err != nil {
						r.Fatal(err)
					}
				}
				if n := len(r.server.Requests("")) - before; n > 400/6 {
					r.Errorf("%d calls in 10 minutes", n)
				}
			})
		})
	}
}
