package ec2cloud

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"
	"strconv"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

const (
	enginePort = 2376
	pageSize   = 1000 // the largest page of DescribeInstances
)

// errSamePage says that an answer in pages goes round in a circle, and may lack something.
var errSamePage = errors.New("the next page is the same one again")

// List implements pool.Cloud. The outlook of a machine may be two minutes old; see the package's comment.
func (c *Cloud) List(ctx context.Context) ([]pool.Machine, error) {
	found, err := c.describeOurs(ctx)
	if err != nil {
		return nil, fmt.Errorf("listing instances: %w", err)
	}
	c.note(found)
	told := c.foretold(ctx, found)
	machines := make([]pool.Machine, 0, len(found))
	for _, i := range found {
		m := c.machine(i)
		if t, there := told[m.CloudID]; there && m.State == pool.MachineRunning {
			m.Outlook, m.Reason = t.outlook, t.reason
		}
		machines = append(machines, m)
	}
	return machines, nil
}

// describeOurs returns all instances that carry the tag of the pool. What the filter should have left out, as that of an
// emulator may not, is none of them.
func (c *Cloud) describeOurs(ctx context.Context) ([]types.Instance, error) {
	found, err := c.describe(ctx, filter("tag:"+tagPool, c.opts.Pool))
	return slices.DeleteFunc(found, func(i types.Instance) bool { return tagOf(i.Tags, tagPool) != c.opts.Pool }), err
}

// describe returns all instances that filters leave, whatever their state.
func (c *Cloud) describe(ctx context.Context, filters ...types.Filter) ([]types.Instance, error) {
	var found []types.Instance
	in := &ec2.DescribeInstancesInput{Filters: filters, MaxResults: aws.Int32(pageSize)}
	for {
		out, err := call(ctx, c.limits.read, actDescribeInstances, c.ec2.DescribeInstances, in)
		if errors.Is(err, pool.ErrPermanent) && in.MaxResults != nil && in.NextToken == nil {
			in.MaxResults = nil // an emulator may know no pages
			continue
		}
		if err != nil {
			return nil, err
		}
		for _, r := range out.Reservations {
			found = append(found, r.Instances...)
		}
		next := aws.ToString(out.NextToken)
		if next == "" {
			return found, nil
		}
		if next == aws.ToString(in.NextToken) {
			return nil, fmt.Errorf("%s: %w", actDescribeInstances, errSamePage)
		}
		in.NextToken = out.NextToken
	}
}

// machineStates are those of package pool for EC2's.
var machineStates = map[types.InstanceStateName]pool.MachineState{
	types.InstanceStateNamePending:      pool.MachinePending,
	types.InstanceStateNameRunning:      pool.MachineRunning,
	types.InstanceStateNameStopping:     pool.MachineStopped,
	types.InstanceStateNameStopped:      pool.MachineStopped,
	types.InstanceStateNameShuttingDown: pool.MachineEnding,
	types.InstanceStateNameTerminated:   pool.MachineEnded,
}

// machine translates an instance.
func (c *Cloud) machine(i types.Instance) pool.Machine {
	m := pool.Machine{
		LaunchID: tagOf(i.Tags, tagLaunch), PoolUID: tagOf(i.Tags, tagPoolUID),
		CloudID: aws.ToString(i.InstanceId), Launched: aws.ToTime(i.LaunchTime),
	}
	if i.State != nil {
		m.State = machineStates[i.State.Name]
	}
	address := aws.ToString(i.PrivateIpAddress)
	if c.opts.PublicAddress {
		address = aws.ToString(i.PublicIpAddress) // which comes late
	}
	if address != "" {
		m.Address = "tcp://" + net.JoinHostPort(address, strconv.Itoa(enginePort))
	}
	if m.State != pool.MachinePending && m.State != pool.MachineRunning {
		m.Reason = reasonOf(i)
	}
	return m
}

// reasonOf returns why an instance has ended or stopped.
func reasonOf(i types.Instance) string {
	if i.StateReason == nil {
		return clean(aws.ToString(i.StateTransitionReason))
	}
	return clean(aws.ToString(i.StateReason.Message)) // it begins with the code
}

func tagOf(tags []types.Tag, key string) string {
	for _, t := range tags {
		if aws.ToString(t.Key) == key {
			return aws.ToString(t.Value)
		}
	}
	return ""
}
