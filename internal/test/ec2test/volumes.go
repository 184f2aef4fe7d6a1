package ec2test

import (
	"fmt"
	"slices"
	"time"
)

// volume is a disk of an instance, or one that has outlived it.
type volume struct {
	id       string
	spec     diskSpec
	zone     string
	created  time.Time
	instance *instance // nil after the instance has ended
	tags     tags
}

// networkCard is the network interface of an instance, or one that has outlived it.
type networkCard struct {
	id       string
	instance *instance // nil after the instance has ended
	subnet   *subnet
	address  string
	keep     bool
	tags     tags
}

// attach makes an instance's volumes and its network interface.
func (s *Server) attach(i *instance, now time.Time) {
	l := i.launch
	for _, spec := range l.disks {
		v := &volume{id: s.id("vol"), spec: spec, zone: i.subnet.zone, created: now, instance: i, tags: tags(nil).with(l.tags["volume"], now)}
		i.disks = append(i.disks, v)
		s.volumes = append(s.volumes, v)
	}
	i.card = &networkCard{s.id("eni"), i, i.subnet, i.private.String(), l.keepCard, tags(nil).with(l.tags["network-interface"], now)}
	s.cards = append(s.cards, i.card)
}

// detach deletes the volumes and network interfaces that end with an instance.
func (s *Server) detach(i *instance) {
	for _, v := range i.disks {
		v.instance = nil
	}
	s.volumes = slices.DeleteFunc(s.volumes, func(v *volume) bool { return v.instance == nil && !v.spec.keep })
	i.card.instance = nil
	if !i.card.keep {
		i.subnet.release(i.private)
		s.cards = slices.DeleteFunc(s.cards, func(c *networkCard) bool { return c == i.card })
	}
}

// Leftovers returns the IDs of volumes and network interfaces that have outlived their instances.
func (s *Server) Leftovers() []string {
	s.lock()
	defer s.mu.Unlock()
	var left []string
	for _, v := range s.volumes {
		if v.instance == nil {
			left = append(left, v.id)
		}
	}
	for _, c := range s.cards {
		if c.instance == nil {
			left = append(left, c.id)
		}
	}
	return left
}

type xmlVolume struct {
	ID         string          `xml:"volumeId"`
	GiB        int             `xml:"size"`
	Zone       string          `xml:"availabilityZone"`
	State      string          `xml:"status"`
	Created    string          `xml:"createTime"`
	Type       string          `xml:"volumeType"`
	Encrypted  bool            `xml:"encrypted"`
	Tags       []tag           `xml:"tagSet>item"`
	Attachment []xmlVolumeLink `xml:"attachmentSet>item"`
}

type xmlVolumeLink struct {
	Volume   string `xml:"volumeId"`
	Instance string `xml:"instanceId"`
	Device   string `xml:"device"`
	State    string `xml:"status"`
	Delete   bool   `xml:"deleteOnTermination"`
}

func (v *volume) state() string {
	if v.instance != nil {
		return "in-use"
	}
	return "available"
}

var volumeKind = kind[*volume]{
	code: "InvalidVolume", prefix: "vol", name: "volume", id: func(v *volume) string { return v.id },
	tags: func(v *volume) tags { return v.tags },
	attributes: map[string]func(*volume) string{
		"volume-id":         func(v *volume) string { return v.id },
		"status":            (*volume).state,
		"availability-zone": func(v *volume) string { return v.zone },
		"encrypted":         func(v *volume) string { return fmt.Sprint(v.spec.encrypted) },
		"attachment.instance-id": func(v *volume) string {
			if v.instance == nil {
				return ""
			}
			return v.instance.id
		},
	},
}

func (s *Server) describeVolumes(p params, now time.Time) (any, error) {
	d := s.readDescribe(p, now, "VolumeId", 1000)
	if err := p.done(); err != nil {
		return nil, err
	}
	found, next, err := find(d, s.volumes, volumeKind)
	out := &struct {
		head
		Next    string      `xml:"nextToken,omitempty"`
		Volumes []xmlVolume `xml:"volumeSet>item"`
	}{Next: next}
	for _, v := range found {
		x := xmlVolume{v.id, v.spec.gib, v.zone, v.state(), stamp(v.created), v.spec.typ, v.spec.encrypted, v.tags.shown(now, s.opts.TagLag), nil}
		if v.instance != nil {
			x.Attachment = []xmlVolumeLink{{v.id, v.instance.id, v.spec.device, "attached", !v.spec.keep}}
		}
		out.Volumes = append(out.Volumes, x)
	}
	return out, err
}

type xmlCard struct {
	ID       string `xml:"networkInterfaceId"`
	Subnet   string `xml:"subnetId"`
	VPC      string `xml:"vpcId"`
	Zone     string `xml:"availabilityZone"`
	Owner    string `xml:"ownerId"`
	State    string `xml:"status"`
	Address  string `xml:"privateIpAddress"`
	Instance string `xml:"attachment>instanceId,omitempty"`
	Tags     []tag  `xml:"tagSet>item"`
}

func (c *networkCard) state() string {
	if c.instance != nil {
		return "in-use"
	}
	return "available"
}

var cardKind = kind[*networkCard]{
	code: "InvalidNetworkInterfaceID", prefix: "eni", name: "networkInterface", id: func(c *networkCard) string { return c.id },
	tags: func(c *networkCard) tags { return c.tags },
	attributes: map[string]func(*networkCard) string{
		"network-interface-id": func(c *networkCard) string { return c.id },
		"status":               (*networkCard).state,
		"subnet-id":            func(c *networkCard) string { return c.subnet.id },
		"private-ip-address":   func(c *networkCard) string { return c.address },
	},
}

func (s *Server) describeNetworkInterfaces(p params, now time.Time) (any, error) {
	d := s.readDescribe(p, now, "NetworkInterfaceId", 1000)
	if err := p.done(); err != nil {
		return nil, err
	}
	found, next, err := find(d, s.cards, cardKind)
	out := &struct {
		head
		Next  string    `xml:"nextToken,omitempty"`
		Cards []xmlCard `xml:"networkInterfaceSet>item"`
	}{Next: next}
	for _, c := range found {
		x := xmlCard{c.id, c.subnet.id, VPC, c.subnet.zone, Account, c.state(), c.address, "", c.tags.shown(now, s.opts.TagLag)}
		if c.instance != nil {
			x.Instance = c.instance.id
		}
		out.Cards = append(out.Cards, x)
	}
	return out, err
}

// stamp returns a time in AWS' form.
func stamp(t time.Time) string { return t.UTC().Format("2006-01-02T15:04:05.000Z") }
