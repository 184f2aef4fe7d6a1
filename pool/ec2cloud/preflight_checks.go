package ec2cloud

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

// network checks subnets and security groups.
func (p *preflight) network(ctx context.Context) {
	all, err := p.readSubnets(ctx)
	if p.works(err) {
		p.where = all
		if len(all) == 0 {
			p.addf("%s", p.noSubnets())
		} else if !slices.ContainsFunc(all, func(s subnet) bool { return s.Free > 0 }) {
			p.addf("no subnet has a free address: add one in Options.Subnets, or end what uses them")
		}
		for _, id := range p.opts.Subnets {
			if len(all) > 0 && !slices.ContainsFunc(all, func(s subnet) bool { return s.ID == id }) {
				p.addf("subnet %s does not exist in %s: correct Options.Subnets", id, p.region)
			}
		}
	}
	p.networks(ctx)
	p.groups(ctx)
}

// groups checks that the security groups are there, in the VPC of the subnets, and let somebody in.
func (p *preflight) groups(ctx context.Context) {
	vpcs := make(map[string]bool)
	for _, s := range p.where {
		vpcs[s.VPC] = true
	}
	named := len(p.opts.SecurityGroups) > 0
	f := filter("group-name", "default")
	if named {
		f = filter("group-id", p.opts.SecurityGroups...)
	}
	out, err := call(ctx, p.limits.read, actDescribeSecurityGroups, p.ec2.DescribeSecurityGroups, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{f}})
	if !p.checks(err) || len(p.where) == 0 {
		return
	}
	var found []string
	lets, everybody := false, false
	for _, g := range out.SecurityGroups {
		id, vpc := aws.ToString(g.GroupId), aws.ToString(g.VpcId)
		if !named && (!vpcs[vpc] || aws.ToString(g.GroupName) != "default") || named && !slices.Contains(p.opts.SecurityGroups, id) {
			continue // the default group of another VPC, or what an emulator shows that ignores the filter
		}
		if named && (len(vpcs) > 1 || !vpcs[vpc]) {
			p.addf("security group %s is of %s, and not all subnets are: use subnets and groups of one VPC", id, vpc)
		}
		found = append(found, id)
		for _, rule := range g.IpPermissions {
			lets = lets || letsIn(rule)
			everybody = everybody || letsIn(rule) && forEverybody(rule)
		}
	}
	for _, id := range p.opts.SecurityGroups {
		if !slices.Contains(found, id) {
			p.addf("security group %s does not exist in %s: correct Options.SecurityGroups", id, p.region)
		}
	}
	switch {
	case len(found) == 0: // told above
	case !lets:
		p.addf("no rule of %s lets anybody reach TCP port %d: allow it from where this program runs, by its security group or its address", strings.Join(found, ", "), enginePort)
	case everybody:
		p.log.Warn("everybody can reach the port of the engines: mutual TLS refuses them, but a rule for this program alone is better", "port", enginePort, "groups", found)
	}
}

// letsIn reports whether a rule is about the engine's port.
func letsIn(rule types.IpPermission) bool {
	switch aws.ToString(rule.IpProtocol) {
	case "-1":
		return true
	case "tcp", "6":
		return aws.ToInt32(rule.FromPort) <= enginePort && enginePort <= aws.ToInt32(rule.ToPort)
	}
	return false
}

func forEverybody(rule types.IpPermission) bool {
	return slices.ContainsFunc(rule.IpRanges, func(r types.IpRange) bool { return aws.ToString(r.CidrIp) == "0.0.0.0/0" }) ||
		slices.ContainsFunc(rule.Ipv6Ranges, func(r types.Ipv6Range) bool { return aws.ToString(r.CidrIpv6) == "::/0" })
}

// What a dry run names where the pool has nothing of the kind.
const (
	noInstance = "i-00000000000000000"
	noRequest  = "sir-00000000"
)

// rights checks the permissions for what a launch does not need.
func (p *preflight) rights(ctx context.Context) {
	dry := aws.Bool(true)
	id := noInstance
	found, err := p.describeOurs(ctx)
	p.works(err)
	var undo []types.Instance
	for _, i := range found {
		switch m := p.machine(i); {
		case m.State != pool.MachineRunning && m.State != pool.MachinePending:
		case m.LaunchID == preflightID && m.PoolUID == preflightID: // of a dry run whose answer was lost
			undo = append(undo, i)
		case p.dry:
			id = m.CloudID
		}
	}
	if len(undo) > 0 {
		p.undo(ctx, undo)
	}
	_, err = call(ctx, p.limits.terminate, actTerminateInstances, p.ec2.TerminateInstances, &ec2.TerminateInstancesInput{InstanceIds: []string{id}, DryRun: dry})
	p.may(err, id == noInstance)
	_, err = call(ctx, p.limits.read, actGetConsoleOutput, p.ec2.GetConsoleOutput, &ec2.GetConsoleOutputInput{InstanceId: &id, DryRun: dry})
	p.may(err, id == noInstance)
	_, err = call(ctx, p.limits.read, actDescribeInstanceStatus, p.ec2.DescribeInstanceStatus, &ec2.DescribeInstanceStatusInput{MaxResults: aws.Int32(5), DryRun: dry})
	p.checks(err)
	if p.opts.Spot == SpotNever {
		return
	}
	request := noRequest
	requests, err := p.requests(ctx)
	if p.checks(err) && len(requests) > 0 && p.dry {
		request = aws.ToString(requests[0].SpotInstanceRequestId)
	}
	_, err = call(ctx, p.limits.write, actCancelSpotInstanceRequests, p.ec2.CancelSpotInstanceRequests,
		&ec2.CancelSpotInstanceRequestsInput{SpotInstanceRequestIds: []string{request}, DryRun: dry})
	p.may(err, request == noRequest)
}

// may is works for a dry run that may have named nothing there is. A policy that is scoped by tags refuses that, just as
// one that does not allow the action does.
func (p *preflight) may(err error, nothing bool) {
	switch {
	case nothing && errors.Is(err, errGone):
	case nothing && refused(err):
		p.log.Warn("whether this is allowed shows once the pool has an instance", "error", err)
	default:
		p.checks(err)
	}
}
