package ec2cloud

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

// openGrace is how long a spot request may be open: RunInstances waits for none, so an older one is nobody's.
const openGrace = 5 * time.Minute

// requests returns the spot requests of the pool that are not closed.
func (c *Cloud) requests(ctx context.Context) ([]types.SpotInstanceRequest, error) {
	var found []types.SpotInstanceRequest
	in := &ec2.DescribeSpotInstanceRequestsInput{
		Filters:    []types.Filter{filter("tag:"+tagPool, c.opts.Pool), filter("state", "open", "active")},
		MaxResults: aws.Int32(pageSize),
	}
	for {
		out, err := call(ctx, c.limits.read, actDescribeSpotInstanceRequests, c.ec2.DescribeSpotInstanceRequests, in)
		if err != nil {
			return nil, err
		}
		for _, r := range out.SpotInstanceRequests {
			// An emulator may ignore the filters.
			if tagOf(r.Tags, tagPool) == c.opts.Pool && (r.State == types.SpotInstanceStateOpen || r.State == types.SpotInstanceStateActive) {
				found = append(found, r)
			}
		}
		next := aws.ToString(out.NextToken)
		if next == "" {
			return found, nil
		}
		if next == aws.ToString(in.NextToken) {
			return nil, fmt.Errorf("%s: %w", actDescribeSpotInstanceRequests, errSamePage)
		}
		in.NextToken = out.NextToken
	}
}

// pollRequests asks which instances AWS takes back.
func (c *Cloud) pollRequests(ctx context.Context) (map[string]outlook, error) {
	found, err := c.requests(ctx)
	if err != nil {
		return nil, err
	}
	told := make(map[string]outlook)
	for _, r := range found {
		if r.Status != nil && strings.HasPrefix(aws.ToString(r.Status.Code), "marked-for-") {
			told[aws.ToString(r.InstanceId)] = outlook{pool.OutlookInterrupted, clean(aws.ToString(r.Status.Code) + ": " + aws.ToString(r.Status.Message))}
		}
	}
	return told, nil
}

// cancelRequests cancels the spot requests of instances that were ended, and those that nobody waits for. That it fails
// is no failure of the termination: a one-time request closes with its instance.
func (c *Cloud) cancelRequests(ctx context.Context, ended []string) {
	found, err := c.requests(ctx)
	if err != nil {
		c.log.Warn("cannot look for spot requests to cancel", "error", err)
		return
	}
	var cancel []string
	for _, r := range found {
		left := r.State == types.SpotInstanceStateOpen && time.Since(aws.ToTime(r.CreateTime)) > openGrace
		if left || slices.Contains(ended, aws.ToString(r.InstanceId)) {
			cancel = append(cancel, aws.ToString(r.SpotInstanceRequestId))
		}
	}
	if len(cancel) == 0 {
		return
	}
	_, err = call(ctx, c.limits.write, actCancelSpotInstanceRequests, c.ec2.CancelSpotInstanceRequests,
		&ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: cancel})
	if err != nil {
		c.log.Warn("cannot cancel spot requests", "requests", cancel, "error", err)
	}
}
