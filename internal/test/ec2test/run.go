package ec2test

import (
	"encoding/base64"
	"maps"
	"net/netip"
	"strings"
	"time"
)

// Limits of AWS.
const (
	maxUserData = 16384 // bytes, before base64
	maxToken    = 64
	maxLaunch   = 1000
)

// launch has the parameters of a call of RunInstances.
type launch struct {
	least, most  int
	imageID      string
	image        *image
	typ          instanceType
	subnetID     string
	zone         string // if it names no subnet
	groups       []string
	keyName      string
	userData     []byte
	token        string
	fingerprint  string // of all parameters but the token
	profile      string // name or ARN of the instance profile
	profileParam string
	shutdown     string // stop, terminate
	market       Market
	maxPrice     string
	imds         Metadata
	disks        []diskSpec
	tags         map[string]tags // by the type of the resource
	public       *bool           // nil: the subnet's default
	keepCard     bool            // the network interface outlives the instance
	address      string
	protected    bool
	monitored    bool
	optimized    bool
	dry          error
}

// Metadata has the options of an instance's metadata service.
type Metadata struct {
	Tokens   string // required, optional
	Endpoint string // enabled, disabled
	IPv6     string
	Tags     string
	HopLimit int
}

// readLaunch reads the parameters of RunInstances. params.done refuses parameters that it does not know, and says which parts
// of RunInstances this server leaves out.
func readLaunch(p params) *launch {
	l := &launch{
		imageID:   p.required("ImageId"),
		subnetID:  p.str("SubnetId"),
		zone:      p.str("Placement.AvailabilityZone"),
		groups:    p.list("SecurityGroupId"),
		keyName:   p.str("KeyName"),
		token:     p.str("ClientToken"),
		shutdown:  p.oneOf("InstanceInitiatedShutdownBehavior", "stop", "terminate"),
		address:   p.str("PrivateIpAddress"),
		protected: p.boolean("DisableApiTermination", false),
		monitored: p.boolean("Monitoring.Enabled", false),
		optimized: p.boolean("EbsOptimized", false),
		imds:      readMetadata(p, "MetadataOptions.", Metadata{"optional", "enabled", "disabled", "disabled", 1}),
		disks:     readDisks(p),
		tags:      map[string]tags{},
		dry:       p.dry(),
	}
	p.required("MinCount")
	p.required("MaxCount")
	l.least, l.most = p.integer("MinCount", 1, 1, maxLaunch), p.integer("MaxCount", 1, 1, maxLaunch)
	if l.least > l.most {
		p.fail(invalid("minCount", p.str("MinCount"), "Value for minCount must not be greater than maxCount."))
	}
	p.oneOf("Placement.Tenancy", "default")
	p.oneOf("CreditSpecification.CpuCredits", "unlimited", "standard")
	name := p.str("InstanceType")
	if typ, ok := typeNamed(name); ok {
		l.typ = typ
	} else {
		p.fail(invalid("InstanceType", name, "The instance type does not exist."))
	}
	if strings.ContainsFunc(l.token, func(r rune) bool { return r < ' ' || r > '~' }) || len(l.token) > maxToken {
		p.fail(invalid("clientToken", l.token, "Invalid client token: it may have 64 ASCII characters."))
	}
	l.readUserData(p)
	l.readProfile(p)
	l.readMarket(p)
	l.readTags(p)
	l.readInterface(p)
	if l.subnetID != "" && l.zone != "" {
		p.fail(combination("The parameters subnetId and placement.availabilityZone may not be used together"))
	}
	form := maps.Clone(p.form)
	form.Del("ClientToken")
	form.Del("DryRun")
	l.fingerprint = form.Encode() // sorted
	return l
}

func (l *launch) readUserData(p params) {
	data, err := base64.StdEncoding.DecodeString(p.str("UserData"))
	switch {
	case err != nil:
		p.fail(fail("InvalidUserData.Malformed", "Invalid BASE64 encoding of user data."))
	case len(data) > maxUserData: // for a launch template it would be InvalidUserData.Malformed
		p.fail(fail("InvalidParameterValue", "User data is limited to %d bytes", maxUserData))
	}
	l.userData = data
}

func (l *launch) readProfile(p params) {
	name, arn := p.str("IamInstanceProfile.Name"), p.str("IamInstanceProfile.Arn")
	l.profile, l.profileParam = name, "iamInstanceProfile.name"
	if arn != "" {
		l.profile, l.profileParam = arn, "iamInstanceProfile.arn"
	}
	if name != "" && arn != "" {
		p.fail(combination("The parameters iamInstanceProfile.name and iamInstanceProfile.arn may not be used together"))
	}
}

func (l *launch) readMarket(p params) {
	l.market = OnDemand
	kind := p.oneOf("InstanceMarketOptions.MarketType", "", "spot")
	price := p.str("InstanceMarketOptions.SpotOptions.MaxPrice")
	p.oneOf("InstanceMarketOptions.SpotOptions.SpotInstanceType", "one-time") // a persistent request would launch again by itself
	p.oneOf("InstanceMarketOptions.SpotOptions.InstanceInterruptionBehavior", "terminate")
	if kind == "spot" {
		l.market, l.maxPrice = Spot, price
	}
}

func (l *launch) readTags(p params) {
	for _, sub := range p.each("TagSpecification") {
		of := sub.oneOf("ResourceType", "", "instance", "volume", "network-interface", "spot-instances-request")
		set := readTags(sub)
		switch {
		case of == "":
			p.fail(fail("InvalidParameterValue", "'' is not a valid taggable resource type for this operation."))
		case l.tags[of] != nil:
			p.fail(fail("InvalidParameterValue", "The same resource type may not be specified more than once in tag specifications."))
		case len(set) == 0:
			p.fail(fail("InvalidParameterValue", "Tag specification must have at least one tag"))
		case of == "spot-instances-request" && l.market != Spot:
			p.fail(combination("You cannot specify tags for Spot instances requests if there are no Spot instances requests being created by the request."))
		}
		l.tags[of] = set
	}
}

// readInterface reads the network interface, if there is one. It then has the subnet and the groups.
func (l *launch) readInterface(p params) {
	for n, sub := range p.each("NetworkInterface") {
		if n > 0 || sub.integer("DeviceIndex", 0, 0, 0) != 0 {
			p.fail(invalid("networkInterface", "", "ec2test: an instance has one network interface"))
		}
		if l.subnetID != "" || len(l.groups) > 0 {
			p.fail(combination("Network interfaces and an instance-level subnet ID may not be specified on the same request"))
		}
		l.subnetID, l.groups, l.address = sub.str("SubnetId"), sub.list("SecurityGroupId"), sub.str("PrivateIpAddress")
		l.keepCard = !sub.boolean("DeleteOnTermination", true)
		sub.str("Description")
		if sub.has("AssociatePublicIpAddress") {
			public := sub.boolean("AssociatePublicIpAddress", false)
			l.public = &public
		}
	}
	if _, err := netip.ParseAddr(l.address); l.address != "" && err != nil {
		p.fail(invalid("privateIpAddress", l.address, "Invalid IPv4 address."))
	}
}

func readMetadata(p params, prefix string, m Metadata) Metadata {
	pick := func(name, standard, other string) string { return p.oneOf(prefix+name, standard, other) }
	other := func(value string) string {
		return map[string]string{"enabled": "disabled", "disabled": "enabled", "optional": "required", "required": "optional"}[value]
	}
	m.Tokens = pick("HttpTokens", m.Tokens, other(m.Tokens))
	m.Endpoint = pick("HttpEndpoint", m.Endpoint, other(m.Endpoint))
	m.IPv6 = pick("HttpProtocolIpv6", m.IPv6, other(m.IPv6))
	m.Tags = pick("InstanceMetadataTags", m.Tags, other(m.Tags))
	m.HopLimit = p.integer(prefix+"HttpPutResponseHopLimit", m.HopLimit, 1, 64)
	return m
}

// runInstances answers a call with a known client token by the result of the first call, before it checks anything
// else.
func (s *Server) runInstances(p params, now time.Time) (any, error) {
	l := readLaunch(p)
	if err := p.done(); err != nil {
		return nil, err
	}
	if r := s.tokens[l.token]; r != nil && l.token != "" {
		if err := r.again(l, now); err != nil {
			return nil, err
		}
		return s.reserved(r, now), nil
	}
	if err := s.checkLaunch(l, now); err != nil {
		return nil, err
	}
	if l.dry != nil {
		return nil, l.dry
	}
	if err := s.throttle.resources("ec2:RunInstances", l.most, now); err != nil {
		return nil, err
	}
	r, err := s.launchIn(l, now)
	if err != nil {
		return nil, err
	}
	return s.reserved(r, now), nil
}

// again returns an error unless a token may be used again.
func (r *reservation) again(l *launch, now time.Time) error {
	if r.launch.fingerprint != l.fingerprint {
		return fail("IdempotentParameterMismatch", "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).")
	}
	for _, i := range r.instances {
		if reached(i.ended, now) {
			return fail("IdempotentInstanceTerminated", "The client token you have provided is associated with a terminated instance. Please use a different client token.")
		}
	}
	return l.dry
}
