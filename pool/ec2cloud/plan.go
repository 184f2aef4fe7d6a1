package ec2cloud

import (
	"context"
	"fmt"
	"maps"
	"net/netip"
	"slices"
	"strings"

	"github.com/berth-go/berth/pool"
)

// Plan is what a launch would be now. It holds no secret.
type Plan struct {
	Region         string
	Generation     string
	Ways           []string // market, type, subnet and zone, in the order in which they are tried
	Closed         []string // the Ways that EC2 has recently refused, and why
	Images         []string // ID, name and architecture
	SecurityGroups []string // none = the VPC's default one
	Volume         Volume
	PublicAddress  bool
	Profile        string
	Tags           map[string]string
	Networks       []netip.Prefix // see Cloud.Networks; containers' own addresses avoid them
}

// Plan returns what would be launched now. It starts nothing.
func (c *Cloud) Plan(ctx context.Context) (Plan, error) {
	p, err := c.plan(ctx)
	if err != nil {
		return Plan{}, fmt.Errorf("ec2cloud: planning a launch: %w", err)
	}
	return p, nil
}

func (c *Cloud) plan(ctx context.Context) (Plan, error) {
	p := Plan{
		Region: c.region, SecurityGroups: c.opts.SecurityGroups, Volume: c.opts.Volume,
		PublicAddress: c.opts.PublicAddress, Profile: c.opts.InstanceProfile, Networks: c.Networks(),
	}
	ways, err := c.chooser.candidates(ctx, "")
	if err != nil {
		return p, err
	}
	for _, way := range ways {
		p.Ways = append(p.Ways, way.String())
		if r := c.chooser.blocks.on(way); r != nil {
			p.Closed = append(p.Closed, fmt.Sprintf("%s: %v", way, r.err))
		}
	}
	images, err := c.images.ofTypes(ctx, c.opts.types(""))
	if err != nil {
		return p, err
	}
	for _, i := range images {
		p.Images = append(p.Images, fmt.Sprintf("%s %s (%s)", i.ID, i.Name, i.Arch))
		p.Volume.GiB = max(p.Volume.GiB, i.GiB)
	}
	p.Tags = c.opts.tagged(pool.Spec{PoolUID: "(that of the store)", LaunchID: "(that of the launch)"})
	p.Generation, err = c.generation(ctx)
	return p, err
}

// String describes the plan for people.
func (p Plan) String() string {
	var b strings.Builder
	lines := func(what string, all ...string) {
		for _, one := range all {
			fmt.Fprintf(&b, "%-16s %s\n", what, one)
			what = ""
		}
	}
	groups := p.SecurityGroups
	if len(groups) == 0 {
		groups = []string{"the default one of the VPC"}
	}
	var tags, networks []string
	for _, key := range slices.Sorted(maps.Keys(p.Tags)) {
		tags = append(tags, key+" = "+p.Tags[key])
	}
	lines("region", p.Region)
	lines("generation", p.Generation)
	lines("tried in order", p.Ways...)
	lines("closed now", p.Closed...)
	lines("image", p.Images...)
	lines("security groups", groups...)
	lines("root volume", fmt.Sprintf("%d GiB %s, encrypted", p.Volume.GiB, p.Volume.Type))
	lines("public address", fmt.Sprint(p.PublicAddress))
	if p.Profile != "" {
		lines("profile", p.Profile)
	}
	lines("tags", tags...)
	for _, n := range p.Networks {
		networks = append(networks, n.String())
	}
	lines("containers avoid", networks...)
	return b.String()
}
