package ec2test

import (
	"net/netip"
	"strconv"
	"time"
)

// AddInstanceProfile makes an instance profile. EC2 knows it after a while, because changes of IAM reach EC2 late.
func (s *Server) AddInstanceProfile(name string, late time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	since := time.Now().Add(late)
	s.profiles[name] = since
	s.profiles["arn:aws:iam::"+Account+":instance-profile/"+name] = since
}

// checkLaunch checks the things that a launch names, and the caller's permissions.
func (s *Server) checkLaunch(l *launch, now time.Time) error {
	if len(l.tags) > 0 {
		if err := s.allowed("ec2:CreateTags"); err != nil {
			return err
		}
	}
	if err := s.checkProfile(l, now); err != nil {
		return err
	}
	img, err := s.catalog.image(l.imageID)
	if err != nil {
		return err
	}
	l.image = img
	if img.arch != l.typ.arch {
		return fail("InvalidParameterValue", "The architecture '%s' of the specified instance type does not match the architecture '%s' of the specified AMI. Specify an instance type and an AMI that have matching architectures, and try again.", l.typ.arch, img.arch)
	}
	if l.keyName != "" {
		return fail("InvalidKeyPair.NotFound", "The key pair '%s' does not exist", l.keyName) // this server has no key pairs
	}
	if err := s.checkNetwork(l); err != nil {
		return err
	}
	if price, err := strconv.ParseFloat(l.maxPrice, 64); l.maxPrice != "" {
		switch {
		case err != nil || price <= 0:
			return invalid("price", l.maxPrice, "Invalid Spot price.")
		case price < l.typ.spotPrice:
			return fail("SpotMaxPriceTooLow", "Your Spot request price of %s is lower than the minimum required Spot request fulfillment price of %g.", l.maxPrice, l.typ.spotPrice)
		}
	}
	return checkDisks(l)
}

func (s *Server) checkProfile(l *launch, now time.Time) error {
	if l.profile == "" {
		return nil
	}
	since, ok := s.profiles[l.profile]
	if !ok || now.Before(since) {
		what := "name"
		if l.profileParam == "iamInstanceProfile.arn" {
			what = "ARN"
		}
		return invalid(l.profileParam, l.profile, "Invalid IAM Instance Profile "+what)
	}
	return s.allowed("iam:PassRole")
}

func (s *Server) checkNetwork(l *launch) error {
	if l.subnetID != "" {
		if err := checkIDs("InvalidSubnetID", "subnet", []string{l.subnetID}); err != nil {
			return err
		}
		if s.network.subnet(l.subnetID) == nil {
			return notFound("InvalidSubnetID", "subnet", []string{l.subnetID})
		}
	}
	known := false
	for _, zone := range s.Zones() {
		known = known || zone == l.zone
	}
	if l.zone != "" && !known {
		return fail("InvalidParameterValue", "Invalid availability zone: [%s]", l.zone)
	}
	for _, id := range l.groups {
		if err := checkIDs("InvalidGroupId", "sg", []string{id}); err != nil {
			return err
		}
		if s.network.group(id) == nil {
			return fail("InvalidGroup.NotFound", "The security group '%s' does not exist", id)
		}
	}
	if l.address == "" {
		return nil
	}
	sub, a := s.network.subnet(l.subnetID), netip.MustParseAddr(l.address)
	switch {
	case sub == nil || !sub.usable(a):
		return fail("InvalidParameterValue", "Address %s does not fall within the subnet's address range", l.address)
	case sub.taken[a]:
		return fail("InvalidIPAddress.InUse", "Address %s is in use.", l.address)
	case l.most > 1:
		return combination("A private address is for one instance")
	}
	return nil
}

// subnets returns the possible subnets of a launch: the one that it names, or each zone's default subnet.
func (s *Server) subnetsOf(l *launch) []*subnet {
	if l.subnetID != "" {
		return []*subnet{s.network.subnet(l.subnetID)}
	}
	var all []*subnet
	for _, sub := range s.network.subnets {
		if sub.isDefault && (l.zone == "" || sub.zone == l.zone) {
			all = append(all, sub)
		}
	}
	return all
}
