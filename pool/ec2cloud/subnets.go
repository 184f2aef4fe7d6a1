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

	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"

	"github.com/berth-go/berth/pool"
)

// subnet is a subnet for instances.
type subnet struct {
	ID, Zone, VPC string
	isDefault     bool // of its zone
	CIDR          netip.Prefix
	Free          int // free addresses when it was read, less those of launches since
}

// subnetTerm is how long an answer about subnets is used.
const subnetTerm = 5 * time.Minute

// subnets are those for the pool's instances.
type subnets struct {
	*client
	gate gate // held while they are read

	mu   sync.Mutex // protects what follows
	all  []subnet
	used map[string]int // launches that were prepared since they were read, by subnet
	next time.Time      // when to read them again
}

// open returns the subnets, the one with the most free addresses first. If they cannot be read again, the last answer
// counts.
func (s *subnets) open(ctx context.Context) ([]subnet, error) {
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
	all, err := s.read(ctx)
	switch {
	case err == nil && len(all) == 0:
		return nil, fmt.Errorf("%w: %s", pool.ErrPermanent, s.none())
	case err == nil:
		s.set(all)
	case len(known) == 0 || ctx.Err() != nil:
		return nil, err
	default:
		s.log.Warn("cannot read the subnets again", "error", err)
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

// read asks for the subnets.
func (s *subnets) read(ctx context.Context) ([]subnet, error) {
	// With filters, because EC2 refuses a call that names a subnet which is gone.
	f := filter("default-for-az", "true")
	if len(s.opts.Subnets) > 0 {
		f = filter("subnet-id", s.opts.Subnets...)
	}
	found, err := call(ctx, s.limits.read, actDescribeSubnets, s.ec2.DescribeSubnets, readSubnets, &ec2.DescribeSubnetsInput{Filters: []types.Filter{f}})
	if err != nil {
		return nil, err
	}
	var all []subnet
	named := len(s.opts.Subnets) > 0
	for _, one := range found {
		if named && slices.Contains(s.opts.Subnets, one.ID) || !named && one.isDefault && one.ID != "" { // an emulator may ignore the filter
			all = append(all, one)
		}
	}
	return all, nil
}

// none says that there are no subnets, and what to do about it.
func (s *subnets) none() string {
	if len(s.opts.Subnets) > 0 {
		return fmt.Sprintf("none of the subnets %s exists in %s: correct %s", strings.Join(s.opts.Subnets, ", "), s.region, s.opts.FieldName("Subnets"))
	}
	return fmt.Sprintf("%s has no default VPC: name the subnets in %s", s.region, s.opts.FieldName("Subnets"))
}
