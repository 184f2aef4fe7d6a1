package ec2cloud

import (
	"fmt"
	"net/netip"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

func readSubnets(out *ec2.DescribeSubnetsOutput) (all []subnet, err error) {
	if out.Subnets == nil {
		return nil, fmt.Errorf("there is no list of subnets: %w", errIncomplete)
	}
	for _, s := range out.Subnets {
		if aws.ToString(s.SubnetId) == "" {
			return nil, fmt.Errorf("a subnet has no ID: %w", errIncomplete)
		}
		block, _ := netip.ParsePrefix(aws.ToString(s.CidrBlock)) // a subnet of IPv6 alone has none
		all = append(all, subnet{
			ID: aws.ToString(s.SubnetId), Zone: aws.ToString(s.AvailabilityZone), VPC: aws.ToString(s.VpcId), CIDR: block,
			Free: int(aws.ToInt32(s.AvailableIpAddressCount)), isDefault: aws.ToBool(s.DefaultForAz),
		})
	}
	return all, nil
}

// vpc is a VPC with its IPv4 blocks: its primary one, and those that were associated with it later.
type vpc struct {
	id     string
	blocks []netip.Prefix
}

func readVPCs(out *ec2.DescribeVpcsOutput) (all []vpc, err error) {
	for _, v := range out.Vpcs {
		read := vpc{id: aws.ToString(v.VpcId)}
		add := func(text *string) {
			if block, err := netip.ParsePrefix(aws.ToString(text)); err == nil {
				read.blocks = append(read.blocks, block.Masked())
			}
		}
		add(v.CidrBlock)
		for _, a := range v.CidrBlockAssociationSet {
			if a.CidrBlockState == nil || a.CidrBlockState.State == types.VpcCidrBlockStateCodeAssociated ||
				a.CidrBlockState.State == types.VpcCidrBlockStateCodeAssociating {
				add(a.CidrBlock)
			}
		}
		all = append(all, read)
	}
	return all, nil
}

// group is a security group.
type group struct {
	id, vpc, name string
	lets          bool // some rule opens the engine's port
	everybody     bool // some rule opens it to every address
}

func readGroups(out *ec2.DescribeSecurityGroupsOutput) (all []group, err error) {
	for _, g := range out.SecurityGroups {
		read := group{id: aws.ToString(g.GroupId), vpc: aws.ToString(g.VpcId), name: aws.ToString(g.GroupName)}
		for _, rule := range g.IpPermissions {
			if letsIn(rule) {
				read.lets, read.everybody = true, read.everybody || forEverybody(rule)
			}
		}
		all = append(all, read)
	}
	return all, nil
}

// letsIn reports whether a rule opens the engine's port.
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
	for _, r := range rule.IpRanges {
		if aws.ToString(r.CidrIp) == "0.0.0.0/0" {
			return true
		}
	}
	for _, r := range rule.Ipv6Ranges {
		if aws.ToString(r.CidrIpv6) == "::/0" {
			return true
		}
	}
	return false
}
