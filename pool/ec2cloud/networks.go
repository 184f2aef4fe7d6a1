package ec2cloud

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Networks returns the IPv4 blocks of the subnets and of their VPCs as the last Preflight has read them, sorted. A
// container whose own network overlaps one of them cannot reach what is there.
func (c *Cloud) Networks() []netip.Prefix {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.networks)
}

// networks reads what Networks returns. It is no problem that it cannot be read: berth works without, as long as no task
// must reach what is in a part of the VPC of which nobody told.
func (p *preflight) networks(ctx context.Context) {
	var vpcs []string
	var blocks []netip.Prefix
	for _, s := range p.where {
		vpcs = append(vpcs, s.VPC)
		if s.CIDR.IsValid() {
			blocks = append(blocks, s.CIDR)
		}
	}
	if len(vpcs) == 0 {
		return
	}
	slices.Sort(vpcs)
	out, err := call(ctx, p.limits.read, actDescribeVpcs, p.ec2.DescribeVpcs, &ec2.DescribeVpcsInput{
		Filters: []types.Filter{filter("vpc-id", slices.Compact(vpcs)...)},
	})
	if err != nil {
		p.log.Warn("the address blocks of the VPC are not known: the networks of containers avoid those of the subnets, and what "+
			"AvoidCIDRs names. Allow "+actDescribeVpcs+" as docs/iam.md has it, or name the blocks in AvoidCIDRs", "error", err)
	} else {
		for _, v := range out.Vpcs {
			if slices.Contains(vpcs, aws.ToString(v.VpcId)) { // an emulator may ignore the filter
				blocks = append(blocks, blocksOf(v)...)
			}
		}
	}
	slices.SortFunc(blocks, func(a, b netip.Prefix) int {
		return cmp.Or(a.Addr().Compare(b.Addr()), cmp.Compare(a.Bits(), b.Bits()))
	})
	p.Cloud.mu.Lock()
	defer p.Cloud.mu.Unlock()
	p.Cloud.networks = slices.Compact(blocks)
}

// blocksOf returns the IPv4 blocks of a VPC: its first one, and those that were associated with it later.
func blocksOf(v types.Vpc) (blocks []netip.Prefix) {
	add := func(text *string) {
		if block, err := netip.ParsePrefix(aws.ToString(text)); err == nil {
			blocks = append(blocks, block.Masked())
		}
	}
	add(v.CidrBlock)
	for _, a := range v.CidrBlockAssociationSet {
		if a.CidrBlockState == nil || a.CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated ||
			a.CidrBlockState.State == types.VpcCidrBlockStateCodeAssociating {
			add(a.CidrBlock)
		}
	}
	return blocks
}
