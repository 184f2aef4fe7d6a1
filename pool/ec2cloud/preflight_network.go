package ec2cloud

import (
	"context"
	"slices"
	"strings"

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
)

// network checks subnets and security groups.
func (p *preflight) network(ctx context.Context) {
	all, err := again(ctx, p, func() ([]subnet, error) { return p.subnets.read(ctx) })
	if p.works(err) {
		p.where = all
		if len(all) == 0 {
			p.addf("%s", p.subnets.none())
		} else if !slices.ContainsFunc(all, func(s subnet) bool { return s.Free > 0 }) {
			p.addf("no subnet has a free address: add one in %s, or end instances that use them", p.opts.FieldName("Subnets"))
		}
		for _, id := range p.opts.Subnets {
			if len(all) > 0 && !slices.ContainsFunc(all, func(s subnet) bool { return s.ID == id }) {
				p.addf("subnet %s does not exist in %s: correct %s", id, p.region, p.opts.FieldName("Subnets"))
			}
		}
	}
	p.networks(ctx)
	p.groups(ctx)
}

// groups checks that the security groups exist, belong to the VPC of the subnets, and open the engine's port to somebody.
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
	p.groupIDs = p.opts.SecurityGroups
	all, err := call(ctx, p.limits.read, actDescribeSecurityGroups, p.ec2.DescribeSecurityGroups, readGroups, &ec2.DescribeSecurityGroupsInput{Filters: []types.Filter{f}})
	if !p.worksOrSkip(err) || len(p.where) == 0 {
		return
	}
	var found []string
	lets, everybody := false, false
	for _, g := range all {
		if !named && (!vpcs[g.vpc] || g.name != "default") || named && !slices.Contains(p.opts.SecurityGroups, g.id) {
			continue // the default group of another VPC, or a group that the filter of an emulator let through
		}
		if named && g.vpc != "" && !vpcs[""] && (len(vpcs) > 1 || !vpcs[g.vpc]) {
			p.addf("security group %s belongs to %s, and not all subnets do: use subnets and groups of one VPC in %s and %s",
				g.id, g.vpc, p.opts.FieldName("Subnets"), p.opts.FieldName("SecurityGroups"))
		}
		found = append(found, g.id)
		lets, everybody = lets || g.lets, everybody || g.everybody
	}
	if named {
		p.groupIDs = found
	}
	for _, id := range p.opts.SecurityGroups {
		if !slices.Contains(found, id) {
			p.addf("security group %s does not exist in %s: correct %s", id, p.region, p.opts.FieldName("SecurityGroups"))
		}
	}
	switch {
	case len(found) == 0: // added above, or there is nothing to check
	case !lets:
		p.addf("no rule of %s opens TCP port %d: open it to this program, by its security group or its address", strings.Join(found, ", "), enginePort)
	case everybody:
		p.log.Warn("everybody can reach the port of the engines: mutual TLS refuses them, but a rule for this program alone is better", "port", enginePort, "groups", found)
	}
}
