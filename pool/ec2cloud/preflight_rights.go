package ec2cloud

import (
	"context"
	"errors"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/berth-go/berth/pool"
)

// The IDs that a dry run names if the pool has no instance or request.
const (
	noInstance = "i-00000000000000000"
	noRequest  = "sir-00000000"
)

// rights checks the permissions for calls other than launches.
func (p *preflight) rights(ctx context.Context) {
	dry := aws.Bool(true)
	id := noInstance
	found, err := again(ctx, p, func() ([]instance, error) { return p.ours.list(ctx) })
	p.works(err)
	var undo []instance
	for _, i := range found {
		switch {
		case i.state != pool.MachineRunning && i.state != pool.MachinePending:
		case i.launch == preflightID && i.uid == p.preflightUID(): // of a dry run whose answer was lost
			undo = append(undo, i)
		case p.dry && p.ours.owns(i.uid): // instances of another store are skipped
			id = i.id
		}
	}
	if len(undo) > 0 {
		p.undo(ctx, undo)
	}
	_, err = call(ctx, p.limits.terminate, actTerminateInstances, p.ec2.TerminateInstances, nothingOf, &ec2.TerminateInstancesInput{InstanceIds: []string{id}, DryRun: dry})
	p.worksDry(err, id == noInstance)
	_, err = call(ctx, p.limits.read, actGetConsoleOutput, p.ec2.GetConsoleOutput, nothingOf, &ec2.GetConsoleOutputInput{InstanceId: &id, DryRun: dry})
	p.worksDry(err, id == noInstance)
	_, err = call(ctx, p.limits.read, actDescribeInstanceStatus, p.ec2.DescribeInstanceStatus, nothingOf, &ec2.DescribeInstanceStatusInput{MaxResults: aws.Int32(5), DryRun: dry})
	p.worksOrSkip(err)
	if p.opts.Spot == SpotNever {
		return
	}
	spotID := noRequest
	requests, err := p.requests.list(ctx)
	if p.worksOrSkip(err) && len(requests) > 0 && p.dry {
		spotID = requests[0].id
	}
	_, err = call(ctx, p.limits.write, actCancelSpotInstanceRequests, p.ec2.CancelSpotInstanceRequests, nothingOf,
		&ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{spotID}, DryRun: dry})
	p.worksDry(err, spotID == noRequest)
}

// worksDry is works for a dry run. nothing says that the run named an ID that does not exist. A policy that is scoped by tags
// refuses such a run in the same way as a policy that does not allow the action.
func (p *preflight) worksDry(err error, nothing bool) {
	switch {
	case nothing && errors.Is(err, errGone):
	case nothing && forbidden(err):
		p.log.Warn("this permission can be checked only once the pool has an instance", "error", err)
	default:
		p.worksOrSkip(err)
	}
}
