package ec2cloud

import (
	"context"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

// openGrace is how long a spot request may be open. RunInstances does not wait for one, so nobody needs an older one.
const openGrace = 5 * time.Minute

// spotRequests are the spot requests of the pool's own store.
type spotRequests struct {
	*client
	ours *ours
}

// list returns the spot requests that are open or active.
func (r *spotRequests) list(ctx context.Context) ([]request, error) {
	in := &ec2.DescribeSpotInstanceRequestsInput{
		Filters:    []types.Filter{filter("tag:"+tagPool, r.opts.Pool), filter("state", "open", "active")},
		MaxResults: aws.Int32(pageSize),
	}
	found, err := pages(actDescribeSpotInstanceRequests, func(token string) (page[request], error) {
		if token != "" {
			in.NextToken = &token
		}
		return call(ctx, r.limits.read, actDescribeSpotInstanceRequests, r.ec2.DescribeSpotInstanceRequests, readRequests, in)
	})
	return slices.DeleteFunc(found, func(one request) bool { // an emulator may ignore the filters
		return one.pool != r.opts.Pool || !r.ours.owns(one.uid) || one.state != types.SpotInstanceStateOpen && one.state != types.SpotInstanceStateActive
	}), err
}

// outlooks asks which instances AWS is taking back.
func (r *spotRequests) outlooks(ctx context.Context) (map[string]outlook, error) {
	found, err := r.list(ctx)
	if err != nil {
		return nil, err
	}
	all := make(map[string]outlook)
	for _, one := range found {
		if strings.HasPrefix(one.code, "marked-for-") {
			all[one.instance] = outlook{pool.OutlookInterrupted, clean(one.code + ": " + one.message)}
		}
	}
	return all, nil
}

// cancel cancels the spot requests of instances that were ended, and open ones that nobody needs. If it fails, the
// termination has succeeded all the same, because a one-time request closes with its instance.
func (r *spotRequests) cancel(ctx context.Context, ended []string) {
	found, err := r.list(ctx)
	if err != nil {
		r.log.Warn("cannot look for spot requests to cancel", "error", err)
		return
	}
	var cancel []string
	for _, one := range found {
		left := one.state == types.SpotInstanceStateOpen && !one.created.IsZero() && time.Since(one.created) > openGrace
		if left || slices.Contains(ended, one.instance) {
			cancel = append(cancel, one.id)
		}
	}
	if len(cancel) == 0 {
		return
	}
	_, err = call(ctx, r.limits.write, actCancelSpotInstanceRequests, r.ec2.CancelSpotInstanceRequests, nothingOf,
		&ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: cancel})
	if err != nil {
		r.log.Warn("cannot cancel spot requests", "requests", cancel, "error", err)
	}
}
