package ec2cloud

import (
	"cmp"
	"context"
	"net/netip"
	"slices"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// Networks returns the IPv4 blocks of the subnets and of their VPCs, sorted, as the last Preflight has read them. A
// container whose own network overlaps one of them cannot reach its hosts.
func (c *Cloud) Networks() []netip.Prefix {
	c.mu.Lock()
	defer c.mu.Unlock()
	return slices.Clone(c.networks)
}

// networks reads the blocks that Networks returns. If they cannot be read, that is not a problem: berth works without them,
// unless a task must reach a part of the VPC whose block is neither a subnet's nor named in the options.
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
	found, err := call(ctx, p.limits.read, actDescribeVpcs, p.ec2.DescribeVpcs, readVPCs, &ec2.DescribeVpcsInput{
		Filters: []types.Filter{filter("vpc-id", slices.Compact(vpcs)...)},
	})
	if err != nil {
		p.log.Warn("the address blocks of the VPC are not known: the networks of containers avoid only those of the subnets and "+
			"those in AvoidCIDRs. Allow "+actDescribeVpcs+" as in docs/iam.md, or name the blocks in AvoidCIDRs", "error", err)
	} else {
		for _, v := range found {
			if slices.Contains(vpcs, v.id) { // an emulator may ignore the filter
				blocks = append(blocks, v.blocks...)
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
