package ec2cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/berth-go/berth/pool"
)

const (
	terminateBatch = 100 // IDs that one call names
	// youth is how long after a launch EC2 may not know the instance.
	youth = 5 * time.Minute
	// maxDenied is how many single instances the credentials may be denied. The rest is not tried: the permission is missing.
	maxDenied = 3
)

// youthPauses are the pauses between tries while EC2 does not know a new instance.
var youthPauses = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

var (
	errNotOurs = fmt.Errorf("%w: it does not carry the tag of this pool, and is left alone", pool.ErrPermanent)
	errYoung   = errors.New("EC2 does not know it yet; it was launched a moment ago")
)

// Terminate implements pool.Cloud. It does not touch an instance that does not carry the tag of this pool.
func (c *Cloud) Terminate(ctx context.Context, cloudIDs ...string) (map[string]error, error) {
	if ctx.Err() != nil {
		return nil, translate(ctx, actTerminateInstances, ctx.Err())
	}
	ids := slices.Compact(slices.Sorted(slices.Values(cloudIDs)))
	ours, failed, err := c.ours.sortOut(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("terminating: %w", err)
	}
	e := &ending{client: c.client, ours: c.ours, failed: failed}
	for batch := range slices.Chunk(ours, terminateBatch) {
		e.end(ctx, batch)
	}
	if len(e.ended) > 0 && c.opts.Spot != SpotNever {
		c.requests.cancel(ctx, e.ended)
	}
	if e.unknown != nil && len(e.ended) == 0 && len(e.failed) == len(ids) {
		return nil, fmt.Errorf("terminating: %w", e.unknown)
	}
	return e.failed, nil
}

// sortOut returns the instances of this pool, and why others must not be touched. An instance that is in neither does not
// exist.
func (o *ours) sortOut(ctx context.Context, ids []string) (ours []string, refused map[string]error, err error) {
	refused = make(map[string]error)
	var ask []string
	o.mu.Lock()
	for _, id := range ids {
		if _, known := o.byID[id]; known {
			ours = append(ours, id)
		} else {
			ask = append(ask, id)
		}
	}
	o.mu.Unlock()
	for batch := range slices.Chunk(ask, terminateBatch) {
		// With a filter, because EC2 refuses a call that names an instance which is gone.
		found, err := o.describe(ctx, filter("instance-id", batch...))
		if err != nil {
			return nil, nil, err
		}
		for _, i := range found {
			switch {
			case !slices.Contains(batch, i.id), slices.Contains(ours, i.id): // an emulator may ignore the filter, or repeat itself
			case i.ended():
			case i.pool == o.opts.Pool:
				o.shown(i, false)
				ours = append(ours, i.id)
			case i.pool == "" && time.Since(i.launched) < youth:
				refused[i.id] = errors.New("EC2 does not show its tags yet")
			default:
				refused[i.id] = errNotOurs
			}
		}
	}
	return ours, refused, nil
}

// ending is one Terminate as it goes on.
type ending struct {
	*client
	ours    *ours
	ended   []string
	failed  map[string]error
	unknown error // of a call whose outcome is unknown
	denied  int   // single instances that the credentials may not end
}

// end ends a batch. EC2 refuses the whole call if one instance cannot be ended. Such a batch is halved until that instance
// is alone.
func (e *ending) end(ctx context.Context, ids []string) {
	err := e.call(ctx, ids, true)
	switch {
	case err == nil:
		e.ended = append(e.ended, ids...)
	case len(ids) == 1:
		e.alone(ctx, ids[0], err)
	case spoils(err):
		for _, half := range [][]string{ids[:len(ids)/2], ids[len(ids)/2:]} {
			if e.denied < maxDenied {
				e.end(ctx, half)
			} else {
				e.fail(half, err)
			}
		}
	default:
		e.unknown = err
		e.fail(ids, err)
	}
}

// spoils reports whether a single instance may have made a call fail for all.
func spoils(err error) bool {
	return errors.Is(err, errGone) || errors.Is(err, pool.ErrPermanent) || saysCode(err, "UnauthorizedOperation")
}

// alone handles a single instance that could not be ended.
func (e *ending) alone(ctx context.Context, id string, err error) {
	switch {
	case errors.Is(err, errGone):
		err = e.gone(ctx, id)
	case errors.Is(err, pool.ErrPermanent) && !saysCode(err, "OperationNotPermitted"):
		err = e.call(ctx, []string{id}, false) // not every instance can skip the shutdown
	case saysCode(err, "UnauthorizedOperation"):
		e.denied++
	case !spoils(err):
		e.unknown = err
	}
	if err == nil {
		e.ended = append(e.ended, id)
	} else {
		e.fail([]string{id}, err)
	}
}

// gone returns nil if an instance that EC2 does not know has gone. If the instance is only new, gone waits and tries again.
func (e *ending) gone(ctx context.Context, id string) error {
	for _, d := range youthPauses {
		if time.Since(e.ours.launchedAt(id)) > youth {
			return nil
		}
		if pause(ctx, d) != nil {
			return errYoung
		}
		if err := e.call(ctx, []string{id}, true); !errors.Is(err, errGone) {
			return err
		}
	}
	return errYoung
}

func (e *ending) fail(ids []string, err error) {
	for _, id := range ids {
		e.failed[id] = err
	}
}

// call ends instances. skip skips the shutdown of the operating system, which may hang. Nothing is lost by that: the
// sessions are over.
func (e *ending) call(ctx context.Context, ids []string, skip bool) error {
	_, err := call(ctx, e.limits.terminate, actTerminateInstances, e.ec2.TerminateInstances, nothingOf,
		&ec2.TerminateInstancesInput{InstanceIds: ids, SkipOsShutdown: aws.Bool(skip)})
	return err
}
