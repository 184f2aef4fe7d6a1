package ec2test

import (
	"math"
	"strings"
	"time"
)

// Market is how an instance is paid for.
type Market string

// The markets.
const (
	OnDemand Market = "on-demand"
	Spot     Market = "spot"
)

type pool struct {
	zone, typ string // "" = any
	market    Market
}

type limits struct {
	capacity  map[pool]int   // instances
	vcpus     map[Market]int // that may run at once
	instances int            // that may run at once
	extra     int            // the number of launches that start one instance too many
	doomed    []string       // the reasons for which the next instances end at boot
}

func (l *limits) init() {
	*l = limits{capacity: map[pool]int{}, vcpus: map[Market]int{OnDemand: math.MaxInt, Spot: math.MaxInt}, instances: math.MaxInt}
}

// SetCapacity sets how many instances of a type AWS can run in a zone at once. A negative n means no limit. An empty
// zone or type stands for each one that has no limit of its own. Existing instances stay.
func (s *Server) SetCapacity(zone, instanceType string, market Market, n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if n < 0 {
		delete(s.limits.capacity, pool{zone, instanceType, market})
		return
	}
	s.limits.capacity[pool{zone, instanceType, market}] = n
}

// SetQuota sets how many virtual CPUs of a market the account may have at once. A negative n means no limit.
func (s *Server) SetQuota(market Market, vcpus int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.vcpus[market] = unlimited(vcpus)
}

// SetInstanceLimit sets how many instances the account may have at once. A negative n means no limit.
func (s *Server) SetInstanceLimit(n int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.limits.instances = unlimited(n)
}

func unlimited(n int) int {
	if n < 0 {
		return math.MaxInt
	}
	return n
}

// room returns how many instances of a launch a subnet has room for, and the error for more.
func (s *Server) room(l *launch, sub *subnet, now time.Time) (n int, err error) {
	n, err = math.MaxInt, nil
	limit := func(room int, more error) {
		if room < n {
			n, err = max(room, 0), more
		}
	}
	running, vcpus, here := 0, 0, 0
	for _, i := range s.live {
		if i.state(now, 0) == Stopped {
			continue
		}
		running++
		if i.launch.market == l.market {
			vcpus += i.launch.typ.vcpus
			if i.launch.typ.name == l.typ.name && i.subnet.zone == sub.zone {
				here++
			}
		}
	}
	if s.catalog.withheld[offering{sub.zone, l.typ.name}] {
		limit(0, fail("Unsupported", "Your requested instance type (%s) is not supported in your requested Availability Zone (%s). Please retry your request by not specifying an Availability Zone or choosing %s.",
			l.typ.name, sub.zone, strings.Join(s.offered(l.typ.name), ", ")))
	}
	quota := fail("VcpuLimitExceeded", "You have requested more vCPU capacity than your current vCPU limit of %d allows for the instance bucket that the specified instance type belongs to. Please visit http://aws.amazon.com/contact-us/ec2-request to request an adjustment to this limit.", s.limits.vcpus[l.market])
	if l.market == Spot {
		quota = fail("MaxSpotInstanceCountExceeded", "Max spot instance count exceeded")
	}
	limit((s.limits.vcpus[l.market]-vcpus)/l.typ.vcpus, quota)
	limit(s.limits.instances-running, fail("InstanceLimitExceeded", "Your quota allows for %d more running instance(s). You requested at least %d", max(s.limits.instances-running, 0), l.least))
	limit(sub.free(), fail("InsufficientFreeAddressesInSubnet", "There are not enough free addresses in subnet '%s' to satisfy the requested number of instances.", sub.id))
	limit(s.capacity(sub.zone, l.typ.name, l.market)-here, noCapacity(l, sub))
	return n, err
}

// capacity returns the most specific limit that the test has set.
func (s *Server) capacity(zone, typ string, market Market) int {
	for _, p := range []pool{{zone, typ, market}, {"", typ, market}, {zone, "", market}, {"", "", market}} {
		if n, ok := s.limits.capacity[p]; ok {
			return n
		}
	}
	return math.MaxInt
}

func noCapacity(l *launch, sub *subnet) error {
	if l.market == Spot {
		return fail("InsufficientInstanceCapacity", "There is no Spot capacity available that matches your request.")
	}
	return fail("InsufficientInstanceCapacity", "We currently do not have sufficient %s capacity in the Availability Zone you requested (%s). Our system will be working on provisioning additional capacity.", l.typ.name, sub.zone)
}
