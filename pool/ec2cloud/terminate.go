package ec2cloud

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

const (
	terminateBatch = 100 // IDs that one call names
	// youth is how long EC2 may not know an instance that it has launched.
	youth = 5 * time.Minute
	// maxDenied is after how many refusals of single instances the rest is not tried: the right is missing altogether.
	maxDenied = 3
)

// youthPauses are those between tries while EC2 does not know an instance that is new.
var youthPauses = []time.Duration{time.Second, 2 * time.Second, 4 * time.Second, 8 * time.Second}

var (
	errNotOurs = fmt.Errorf("%w: it does not carry the tag of this pool, and is left alone", pool.ErrPermanent)
	errYoung   = errors.New("EC2 does not know it yet; it was launched a moment ago")
)

// Terminate implements pool.Cloud. What does not carry the tag of this pool is not touched.
func (c *Cloud) Terminate(ctx context.Context, cloudIDs ...string) (map[string]error, error) {
	if ctx.Err() != nil {
		return nil, tell(ctx, actTerminateInstances, ctx.Err())
	}
	ids := slices.Compact(slices.Sorted(slices.Values(cloudIDs)))
	ours, failed, err := c.sort(ctx, ids)
	if err != nil {
		return nil, fmt.Errorf("terminating: %w", err)
	}
	e := &ending{c: c, failed: failed}
	for batch := range slices.Chunk(ours, terminateBatch) {
		e.end(ctx, batch)
	}
	if len(e.ended) > 0 && c.opts.Spot != SpotNever {
		c.cancelRequests(ctx, e.ended)
	}
	if e.unknown != nil && len(e.ended) == 0 && len(e.failed) == len(ids) {
		return nil, fmt.Errorf("terminating: %w", e.unknown)
	}
	return e.failed, nil
}

// sort returns which instances are of this pool, and why others are not to be touched. An instance that is in neither
// does not exist.
func (c *Cloud) sort(ctx context.Context, ids []string) (ours []string, refused map[string]error, err error) {
	refused = make(map[string]error)
	var ask []string
	c.mu.Lock()
	for _, id := range ids {
		if _, known := c.ours[id]; known {
			ours = append(ours, id)
		} else {
			ask = append(ask, id)
		}
	}
	c.mu.Unlock()
	for batch := range slices.Chunk(ask, terminateBatch) {
		// By a filter, since an ID that is gone must not hide the others.
		found, err := c.describe(ctx, filter("instance-id", batch...))
		if err != nil {
			return nil, nil, err
		}
		for _, i := range found {
			id, tag := aws.ToString(i.InstanceId), tagOf(i.Tags, tagPool)
			switch {
			case !slices.Contains(batch, id): // an emulator may ignore the filter
			case i.State != nil && i.State.Name == types.InstanceStateNameTerminated:
			case tag == c.opts.Pool:
				c.seen(id, false)
				ours = append(ours, id)
			case tag == "" && time.Since(aws.ToTime(i.LaunchTime)) < youth:
				refused[id] = errors.New("EC2 does not show its tags yet")
			default:
				refused[id] = errNotOurs
			}
		}
	}
	return ours, refused, nil
}

// ending is one Terminate as it goes on.
type ending struct {
	c       *Cloud
	ended   []string
	failed  map[string]error
	unknown error // of a call of which nothing is known
	denied  int   // single instances that the credentials may not end
}

// end ends a batch. One instance that cannot be ended spoils a call for all, so what fails for such a reason is halved
// until it stands alone.
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

// spoils reports whether one instance may be why a call has failed for all.
func spoils(err error) bool {
	return errors.Is(err, errGone) || errors.Is(err, pool.ErrPermanent) || saysCode(err, "UnauthorizedOperation")
}

// alone deals with one instance that could not be ended.
func (e *ending) alone(ctx context.Context, id string, err error) {
	switch {
	case errors.Is(err, errGone):
		err = e.gone(ctx, id)
	case errors.Is(err, pool.ErrPermanent) && !saysCode(err, "OperationNotPermitted"):
		err = e.call(ctx, []string{id}, false) // not every instance can skip the shutdown of its system
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

// gone returns nil when an instance that EC2 does not know is gone, and not merely new.
func (e *ending) gone(ctx context.Context, id string) error {
	for _, d := range youthPauses {
		e.c.mu.Lock()
		launched := e.c.ours[id].launched
		e.c.mu.Unlock()
		if time.Since(launched) > youth {
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

// call ends instances. Their sessions are over, so that nothing is lost by skipping the shutdown of the system, which
// may hang.
func (e *ending) call(ctx context.Context, ids []string, skip bool) error {
	_, err := call(ctx, e.c.limits.terminate, actTerminateInstances, e.c.ec2.TerminateInstances,
		&ec2.TerminateInstancesInput{InstanceIds: ids, SkipOsShutdown: aws.Bool(skip)})
	return err
}
