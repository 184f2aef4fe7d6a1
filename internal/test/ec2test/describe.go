package ec2test

import (
	"cmp"
	"strings"
	"time"
)

type xmlState struct {
	Code int    `xml:"code"`
	Name string `xml:"name"`
}

func stateOf(s State) xmlState { return xmlState{stateCodes[s], string(s)} }

type xmlGroupRef struct {
	ID   string `xml:"groupId"`
	Name string `xml:"groupName"`
}

type xmlReservation struct {
	ID        string        `xml:"reservationId"`
	Owner     string        `xml:"ownerId"`
	Groups    []xmlGroupRef `xml:"groupSet>item"`
	Instances []xmlInstance `xml:"instancesSet>item"`
}

type xmlReason struct {
	Code    string `xml:"code"`
	Message string `xml:"message"`
}

type xmlProfile struct {
	ARN string `xml:"arn"`
	ID  string `xml:"id"`
}

type xmlInstance struct {
	ID           string        `xml:"instanceId"`
	Image        string        `xml:"imageId"`
	State        xmlState      `xml:"instanceState"`
	PrivateDNS   string        `xml:"privateDnsName"`
	PublicDNS    string        `xml:"dnsName"`
	Transition   string        `xml:"reason"`
	Index        int           `xml:"amiLaunchIndex"`
	Type         string        `xml:"instanceType"`
	Launched     string        `xml:"launchTime"`
	Zone         string        `xml:"placement>availabilityZone"`
	Tenancy      string        `xml:"placement>tenancy"`
	Monitoring   string        `xml:"monitoring>state"`
	Subnet       string        `xml:"subnetId,omitempty"`
	VPC          string        `xml:"vpcId,omitempty"`
	Private      string        `xml:"privateIpAddress,omitempty"`
	Public       string        `xml:"ipAddress,omitempty"`
	Groups       []xmlGroupRef `xml:"groupSet>item"`
	Reason       *xmlReason    `xml:"stateReason"`
	Arch         string        `xml:"architecture"`
	RootType     string        `xml:"rootDeviceType"`
	RootName     string        `xml:"rootDeviceName"`
	Disks        []xmlDisk     `xml:"blockDeviceMapping>item"`
	Virtual      string        `xml:"virtualizationType"`
	Hypervisor   string        `xml:"hypervisor"`
	Token        string        `xml:"clientToken"`
	Lifecycle    string        `xml:"instanceLifecycle,omitempty"`
	SpotID       string        `xml:"spotInstanceRequestId,omitempty"`
	Tags         []tag         `xml:"tagSet>item"`
	Cards        []xmlNIC      `xml:"networkInterfaceSet>item"`
	Profile      *xmlProfile   `xml:"iamInstanceProfile"`
	EBSOptimized bool          `xml:"ebsOptimized"`
	ENA          bool          `xml:"enaSupport"`
	Metadata     xmlMetadata   `xml:"metadataOptions"`
	Platform     string        `xml:"platformDetails"`
}

type xmlDisk struct {
	Device   string `xml:"deviceName"`
	Volume   string `xml:"ebs>volumeId"`
	State    string `xml:"ebs>status"`
	Attached string `xml:"ebs>attachTime"`
	Delete   bool   `xml:"ebs>deleteOnTermination"`
}

type xmlNIC struct {
	ID      string `xml:"networkInterfaceId"`
	Subnet  string `xml:"subnetId"`
	VPC     string `xml:"vpcId"`
	State   string `xml:"status"`
	Private string `xml:"privateIpAddress"`
	Delete  bool   `xml:"attachment>deleteOnTermination"`
}

type xmlMetadata struct {
	State    string `xml:"state"`
	Tokens   string `xml:"httpTokens"`
	HopLimit int    `xml:"httpPutResponseHopLimit"`
	Endpoint string `xml:"httpEndpoint"`
	IPv6     string `xml:"httpProtocolIpv6"`
	Tags     string `xml:"instanceMetadataTags"`
}

func metadataOf(m Metadata, state string) xmlMetadata {
	return xmlMetadata{state, m.Tokens, m.HopLimit, m.Endpoint, m.IPv6, m.Tags}
}

// reasons are AWS' messages for the codes.
var reasons = map[string]string{
	byUser:                                "User initiated shutdown",
	byItself:                              "Instance initiated shutdown",
	byAWS:                                 "Stopped due to a scheduled retirement",
	interrupted:                           "Spot instance termination",
	"Client.InternalError":                "Client error on launch",
	"Client.VolumeLimitExceeded":          "Volume limit exceeded",
	"Server.InsufficientInstanceCapacity": "There was insufficient capacity available to satisfy the launch request",
	"Server.InternalError":                "Internal error on launch",
}

// show returns the instance as Describe calls show it, lag late.
func (s *Server) show(i *instance, now time.Time, lag time.Duration) xmlInstance {
	l, state := i.launch, i.state(now, lag)
	x := xmlInstance{
		ID: i.id, Image: l.imageID, State: stateOf(state), Index: i.index, Type: l.typ.name, Launched: stamp(i.launched),
		Zone: i.subnet.zone, Tenancy: "default", Monitoring: "disabled", Arch: l.typ.arch, RootType: "ebs", RootName: l.disks[0].device,
		Virtual: "hvm", Hypervisor: "xen", Token: l.token, EBSOptimized: l.optimized, ENA: true,
		Metadata: metadataOf(i.imds, "applied"), Platform: "Linux/UNIX",
	}
	if l.monitored {
		x.Monitoring = "enabled"
	}
	if i.spot != nil {
		x.Lifecycle, x.SpotID = "spot", i.spot.id
	}
	if l.profile != "" {
		name := l.profile[strings.LastIndex(l.profile, "/")+1:]
		x.Profile = &xmlProfile{"arn:aws:iam::" + Account + ":instance-profile/" + name, "AIPAEC2TEST000000001"}
	}
	if state != Pending && state != Running {
		x.Reason = &xmlReason{i.reason, i.reason + ": " + cmp.Or(reasons[i.reason], i.reason)}
		x.Transition = x.Reason.Message
		if i.reason == byUser {
			x.Transition = "User initiated (" + i.shuts.UTC().Format("2006-01-02 15:04:05") + " GMT)"
		}
	}
	if state == Terminated {
		return x
	}
	for _, id := range s.groupsOf(i) {
		x.Groups = append(x.Groups, xmlGroupRef{id, s.network.group(id).name})
	}
	x.Subnet, x.VPC, x.Private = i.subnet.id, VPC, i.private.String()
	x.PrivateDNS = "ip-" + strings.ReplaceAll(x.Private, ".", "-") + ".ec2.internal"
	if i.public.IsValid() && state != Pending { // AWS gives it late
		x.Public = i.public.String()
		x.PublicDNS = "ec2-" + strings.ReplaceAll(x.Public, ".", "-") + ".compute-1.amazonaws.com"
	}
	for _, v := range i.disks {
		x.Disks = append(x.Disks, xmlDisk{v.spec.device, v.id, "attached", stamp(v.created), !v.spec.keep})
	}
	x.Cards = []xmlNIC{{i.card.id, x.Subnet, x.VPC, "in-use", x.Private, !i.card.keep}}
	return x
}

type reservations struct {
	head
	Next         string           `xml:"nextToken,omitempty"`
	Reservations []xmlReservation `xml:"reservationSet>item"`
}

// reserved returns the answer of RunInstances, which does not lag behind.
func (s *Server) reserved(r *reservation, now time.Time) any {
	out := &struct {
		head
		xmlReservation
	}{}
	out.xmlReservation = xmlReservation{ID: r.id, Owner: Account}
	for _, i := range r.instances {
		x := s.show(i, now, 0)
		x.Tags = i.tags
		out.Instances = append(out.Instances, x)
	}
	return out
}

func (s *Server) instanceKind(now time.Time) kind[*instance] {
	state := func(i *instance) State { return i.state(now, s.opts.EndLag) }
	unlessEnded := func(get func(*instance) string) func(*instance) string {
		return func(i *instance) string {
			if state(i) == Terminated {
				return ""
			}
			return get(i)
		}
	}
	lifecycle := func(i *instance) string {
		if i.spot != nil {
			return "spot"
		}
		return ""
	}
	return kind[*instance]{
		code: "InvalidInstanceID", prefix: "i", name: "instance", id: func(i *instance) string { return i.id },
		tags: func(i *instance) tags { return i.tags },
		attributes: map[string]func(*instance) string{
			"instance-id":         func(i *instance) string { return i.id },
			"instance-state-name": func(i *instance) string { return string(state(i)) },
			"client-token":        func(i *instance) string { return i.launch.token },
			"instance-type":       func(i *instance) string { return i.launch.typ.name },
			"instance-lifecycle":  lifecycle,
			"image-id":            func(i *instance) string { return i.launch.imageID },
			"availability-zone":   func(i *instance) string { return i.subnet.zone },
			"reservation-id":      func(i *instance) string { return i.reservation.id },
			"architecture":        func(i *instance) string { return i.launch.typ.arch },
			"state-reason-code": func(i *instance) string {
				if st := state(i); st == Pending || st == Running {
					return ""
				}
				return i.reason
			},
			"subnet-id":          unlessEnded(func(i *instance) string { return i.subnet.id }),
			"vpc-id":             unlessEnded(func(*instance) string { return VPC }),
			"private-ip-address": unlessEnded(func(i *instance) string { return i.private.String() }),
			"ip-address": func(i *instance) string {
				if !i.public.IsValid() {
					return ""
				}
				return i.public.String()
			},
			"spot-instance-request-id": func(i *instance) string {
				if i.spot != nil {
					return i.spot.id
				}
				return ""
			},
		},
	}
}

func (s *Server) describeInstances(p params, now time.Time) (any, error) {
	d := s.readDescribe(p, now, "InstanceId", 1000)
	if err := p.done(); err != nil {
		return nil, err
	}
	found, next, err := find(d, s.shown(now), s.instanceKind(now))
	out := &reservations{Next: next}
	for _, i := range found {
		n := len(out.Reservations)
		if n == 0 || out.Reservations[n-1].ID != i.reservation.id {
			out.Reservations = append(out.Reservations, xmlReservation{ID: i.reservation.id, Owner: Account})
			n++
		}
		x := s.show(i, now, s.opts.EndLag)
		x.Tags = i.tags.shown(now, s.opts.TagLag)
		out.Reservations[n-1].Instances = append(out.Reservations[n-1].Instances, x)
	}
	return out, err
}
