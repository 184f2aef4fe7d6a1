package ec2cloud

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

// subnet is where instances may go.
type subnet struct {
	ID, Zone, VPC string
	CIDR          netip.Prefix
	Free          int // addresses that were free when it was read, less those of launches since
}

// subnetTerm is how long what was read of subnets is used.
const subnetTerm = 5 * time.Minute

type subnets struct {
	gate gate // held while they are read

	mu   sync.Mutex // protects what follows
	all  []subnet
	used map[string]int // launches that were prepared since they were read, by subnet
	next time.Time      // when to read them again
}

// openSubnets returns the subnets, the one with the most free addresses first. When they cannot be read again, what was
// read last counts.
func (c *Cloud) openSubnets(ctx context.Context) ([]subnet, error) {
	s := &c.subnets
	if all, fresh := s.get(); fresh {
		return all, nil
	}
	if err := s.gate.enter(ctx); err != nil {
		return nil, err
	}
	defer s.gate.leave()
	known, fresh := s.get()
	if fresh {
		return known, nil
	}
	all, err := c.readSubnets(ctx)
	switch {
	case err == nil && len(all) == 0:
		return nil, fmt.Errorf("%w: %s", pool.ErrPermanent, c.noSubnets())
	case err == nil:
		s.set(all)
	case len(known) == 0 || ctx.Err() != nil:
		return nil, err
	default:
		c.log.Warn("cannot read the subnets again", "error", err)
	}
	all, _ = s.get()
	return all, nil
}

func (s *subnets) get() (all []subnet, fresh bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all = slices.Clone(s.all)
	for i := range all {
		all[i].Free -= s.used[all[i].ID]
	}
	slices.SortStableFunc(all, func(a, b subnet) int { return cmp.Compare(b.Free, a.Free) })
	return all, time.Now().Before(s.next)
}

func (s *subnets) set(all []subnet) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.all, s.next = all, time.Now().Add(subnetTerm)
	clear(s.used)
}

// take counts a launch that was prepared for a subnet.
func (s *subnets) take(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[id]++
}

// give takes back the count of a launch that has started nothing.
func (s *subnets) give(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.used[id] = max(s.used[id]-1, 0)
}

func (c *Cloud) readSubnets(ctx context.Context) ([]subnet, error) {
	// By filters, since one subnet that is gone must not hide the others.
	f := filter("default-for-az", "true")
	if len(c.opts.Subnets) > 0 {
		f = filter("subnet-id", c.opts.Subnets...)
	}
	out, err := call(ctx, c.limits.read, actDescribeSubnets, c.ec2.DescribeSubnets, &ec2.DescribeSubnetsInput{Filters: []types.Filter{f}})
	if err != nil {
		return nil, err
	}
	var all []subnet
	named := len(c.opts.Subnets) > 0
	for _, s := range out.Subnets {
		// An emulator may ignore the filter.
		if named != slices.Contains(c.opts.Subnets, aws.ToString(s.SubnetId)) || !named && !aws.ToBool(s.DefaultForAz) {
			continue
		}
		block, _ := netip.ParsePrefix(aws.ToString(s.CidrBlock)) // a subnet of IPv6 alone has none
		all = append(all, subnet{
			ID: aws.ToString(s.SubnetId), Zone: aws.ToString(s.AvailabilityZone), VPC: aws.ToString(s.VpcId), CIDR: block,
			Free: int(aws.ToInt32(s.AvailableIpAddressCount)),
		})
	}
	return all, nil
}

func (c *Cloud) noSubnets() string {
	if len(c.opts.Subnets) > 0 {
		return fmt.Sprintf("none of the subnets %s exists in %s: correct Options.Subnets", strings.Join(c.opts.Subnets, ", "), c.region)
	}
	return fmt.Sprintf("%s has no default VPC: name the subnets in Options.Subnets", c.region)
}
