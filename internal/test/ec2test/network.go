package ec2test

import (
	"fmt"
	"net/netip"
	"time"
)

// The network that every server has from the start: a default VPC with one subnet per zone, which give public addresses.
const (
	VPC           = "vpc-00000000000000001"
	SecurityGroup = "sg-00000000000000001" // the VPC's default one
)

// vpcBlock is the first block of the VPC.
const vpcBlock = "10.0.0.0/16"

// reserved is how many addresses of a subnet AWS reserves: the first four and the last.
const reserved = 5

type network struct {
	subnets []*subnet
	groups  []*securityGroup
	blocks  []xmlBlock // of the VPC
	public  subnet     // the public addresses: of a block reserved for tests
}

type subnet struct {
	id, zone  string
	cidr      netip.Prefix
	isDefault bool
	public    bool // instances get a public address
	taken     map[netip.Addr]bool
	last      netip.Addr // the address assigned most recently
	forced    []netip.Addr
}

type securityGroup struct {
	id, name string
	rules    []Rule
}

// Rule is a rule of a security group that allows incoming traffic.
type Rule struct {
	Port   int
	Source string // a CIDR block, or the ID of a security group
}

func (n *network) init(s *Server) {
	for i, letter := range []string{"a", "b", "c"} {
		n.subnets = append(n.subnets, newSubnet(s.id("subnet"), s.opts.Region+letter, fmt.Sprintf("10.0.%d.0/24", i), true))
	}
	n.blocks = []xmlBlock{{s.id("vpc-cidr-assoc"), vpcBlock, "associated"}}
	n.groups = []*securityGroup{{id: s.id("sg"), name: "default"}}
	n.public = *newSubnet("", "", "198.18.0.0/15", false)
}

func newSubnet(id, zone, cidr string, isDefault bool) *subnet {
	prefix := netip.MustParsePrefix(cidr).Masked()
	sub := &subnet{id: id, zone: zone, cidr: prefix, isDefault: isDefault, public: isDefault, taken: map[netip.Addr]bool{}}
	sub.last = prefix.Addr()
	for range reserved - 2 {
		sub.last = sub.last.Next()
	}
	return sub
}

// Zones returns the availability zones, e.g. us-east-1a.
func (s *Server) Zones() []string {
	return []string{s.opts.Region + "a", s.opts.Region + "b", s.opts.Region + "c"}
}

// Subnet returns the ID of a zone's default subnet.
func (s *Server) Subnet(zone string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, sub := range s.network.subnets {
		if sub.zone == zone && sub.isDefault {
			return sub.id
		}
	}
	panic(fmt.Sprintf("ec2test: no zone is named %q", zone))
}

// AddSubnet adds a subnet to the VPC, without public addresses, and returns its ID. AWS reserves 5 of its addresses. On
// Linux, Boot can start a server of the test's own at an instance's address if the block is within 127.0.0.0/8.
func (s *Server) AddSubnet(zone, cidr string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := newSubnet(s.id("subnet"), zone, cidr, false)
	s.network.subnets = append(s.network.subnets, sub)
	return sub.id
}

// AddVPCBlock associates another block of addresses with the VPC. If associated is false, the VPC shows the block as
// disassociated.
func (s *Server) AddVPCBlock(cidr string, associated bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	state := "associated"
	if !associated {
		state = "disassociated"
	}
	s.network.blocks = append(s.network.blocks, xmlBlock{s.id("vpc-cidr-assoc"), netip.MustParsePrefix(cidr).String(), state})
}

// AddSecurityGroup adds a security group to the VPC and returns its ID.
func (s *Server) AddSecurityGroup(name string, rules ...Rule) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	g := &securityGroup{s.id("sg"), name, rules}
	s.network.groups = append(s.network.groups, g)
	return g.id
}

// NextAddress sets the address of the next instance in a subnet that does not request one, if the address is free.
// Otherwise addresses are assigned in turn: a freed one is used again after the last of the subnet.
func (s *Server) NextAddress(subnetID, address string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	sub := s.network.subnet(subnetID)
	if sub == nil {
		panic(fmt.Sprintf("ec2test: no subnet has the ID %q", subnetID))
	}
	a := netip.MustParseAddr(address)
	if !sub.usable(a) {
		panic(fmt.Sprintf("ec2test: %s is not for instances of %s", address, sub.cidr))
	}
	sub.forced = append(sub.forced, a)
}

func (n *network) subnet(id string) *subnet {
	for _, sub := range n.subnets {
		if sub.id == id {
			return sub
		}
	}
	return nil
}

func (n *network) group(id string) *securityGroup {
	for _, g := range n.groups {
		if g.id == id {
			return g
		}
	}
	return nil
}

// size returns how many addresses the subnet has for instances.
func (sub *subnet) size() int { return 1<<(32-sub.cidr.Bits()) - reserved }

func (sub *subnet) free() int { return sub.size() - len(sub.taken) }

// usable reports whether an instance may have an address: any of the block except the first four and the last.
func (sub *subnet) usable(a netip.Addr) bool {
	first := sub.cidr.Addr()
	for range reserved - 1 {
		if a == first {
			return false
		}
		first = first.Next()
	}
	return sub.cidr.Contains(a) && sub.cidr.Contains(a.Next())
}

// take assigns an address. The caller has checked that one is free.
func (sub *subnet) take() netip.Addr {
	if len(sub.forced) > 0 && !sub.taken[sub.forced[0]] {
		a := sub.forced[0]
		sub.forced = sub.forced[1:]
		sub.taken[a] = true
		return a
	}
	if sub.free() <= 0 {
		panic(fmt.Sprintf("ec2test: %s has no address left", sub.cidr))
	}
	for a := sub.last.Next(); ; a = a.Next() {
		if !sub.cidr.Contains(a) {
			a = sub.cidr.Addr()
		}
		if sub.usable(a) && !sub.taken[a] {
			sub.taken[a], sub.last = true, a
			return a
		}
	}
}

func (sub *subnet) release(a netip.Addr) { delete(sub.taken, a) }

type xmlSubnet struct {
	ID        string `xml:"subnetId"`
	ARN       string `xml:"subnetArn"`
	State     string `xml:"state"`
	Owner     string `xml:"ownerId"`
	VPC       string `xml:"vpcId"`
	CIDR      string `xml:"cidrBlock"`
	Free      int    `xml:"availableIpAddressCount"`
	Zone      string `xml:"availabilityZone"`
	IsDefault bool   `xml:"defaultForAz"`
	Public    bool   `xml:"mapPublicIpOnLaunch"`
}

var subnetKind = kind[*subnet]{
	code: "InvalidSubnetID", prefix: "subnet", name: "subnet", id: func(sub *subnet) string { return sub.id },
	attributes: map[string]func(*subnet) string{
		"subnet-id":         func(sub *subnet) string { return sub.id },
		"vpc-id":            func(*subnet) string { return VPC },
		"availability-zone": func(sub *subnet) string { return sub.zone },
		"cidr-block":        func(sub *subnet) string { return sub.cidr.String() },
		"default-for-az":    func(sub *subnet) string { return fmt.Sprint(sub.isDefault) },
		"state":             func(*subnet) string { return "available" },
	},
}

func (s *Server) describeSubnets(p params, now time.Time) (any, error) {
	d := s.readDescribe(p, now, "SubnetId", 1000)
	if err := p.done(); err != nil {
		return nil, err
	}
	out := &struct {
		head
		Next    string      `xml:"nextToken,omitempty"`
		Subnets []xmlSubnet `xml:"subnetSet>item"`
	}{}
	found, next, err := find(d, s.network.subnets, subnetKind)
	for _, sub := range found {
		arn := "arn:aws:ec2:" + s.opts.Region + ":" + Account + ":subnet/" + sub.id
		out.Subnets = append(out.Subnets, xmlSubnet{sub.id, arn, "available", Account, VPC, sub.cidr.String(), sub.free(), sub.zone, sub.isDefault, sub.public})
	}
	out.Next = next
	return out, err
}
