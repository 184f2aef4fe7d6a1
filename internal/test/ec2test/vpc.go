package ec2test

import (
	"strings"
	"time"
)

type xmlVPC struct {
	ID        string     `xml:"vpcId"`
	Owner     string     `xml:"ownerId"`
	State     string     `xml:"state"`
	CIDR      string     `xml:"cidrBlock"`
	IsDefault bool       `xml:"isDefault"`
	Tenancy   string     `xml:"instanceTenancy"`
	Blocks    []xmlBlock `xml:"cidrBlockAssociationSet>item"`
}

type xmlBlock struct {
	ID    string `xml:"associationId"`
	CIDR  string `xml:"cidrBlock"`
	State string `xml:"cidrBlockState>state"`
}

var vpcKind = kind[string]{
	code: "InvalidVpcID", prefix: "vpc", name: "vpc", id: func(id string) string { return id },
	attributes: map[string]func(string) string{
		"vpc-id":     func(id string) string { return id },
		"is-default": func(string) string { return "true" },
		"state":      func(string) string { return "available" },
	},
}

func (s *Server) describeVpcs(p params, now time.Time) (any, error) {
	d := s.readDescribe(p, now, "VpcId", 1000)
	if err := p.done(); err != nil {
		return nil, err
	}
	out := &struct {
		head
		Next string   `xml:"nextToken,omitempty"`
		VPCs []xmlVPC `xml:"vpcSet>item"`
	}{}
	found, next, err := find(d, []string{VPC}, vpcKind)
	for _, id := range found {
		out.VPCs = append(out.VPCs, xmlVPC{id, Account, "available", vpcBlock, true, "default", s.network.blocks})
	}
	out.Next = next
	return out, err
}

type xmlGroup struct {
	Owner       string    `xml:"ownerId"`
	ID          string    `xml:"groupId"`
	Name        string    `xml:"groupName"`
	Description string    `xml:"groupDescription"`
	VPC         string    `xml:"vpcId"`
	In          []xmlRule `xml:"ipPermissions>item"`
	Out         []xmlRule `xml:"ipPermissionsEgress>item"`
}

type xmlRule struct {
	Protocol string          `xml:"ipProtocol"`
	From     *int            `xml:"fromPort"`
	To       *int            `xml:"toPort"`
	Groups   []xmlRuleGroup  `xml:"groups>item"`
	Ranges   []xmlRuleSource `xml:"ipRanges>item"`
}

type xmlRuleGroup struct {
	User string `xml:"userId"`
	ID   string `xml:"groupId"`
}

type xmlRuleSource struct {
	CIDR string `xml:"cidrIp"`
}

var groupKind = kind[*securityGroup]{
	code: "InvalidGroup", prefix: "sg", name: "security group", id: func(g *securityGroup) string { return g.id },
	attributes: map[string]func(*securityGroup) string{
		"group-id":   func(g *securityGroup) string { return g.id },
		"group-name": func(g *securityGroup) string { return g.name },
		"vpc-id":     func(*securityGroup) string { return VPC },
	},
}

func (s *Server) describeSecurityGroups(p params, now time.Time) (any, error) {
	d := s.readDescribe(p, now, "GroupId", 1000)
	if err := p.done(); err != nil {
		return nil, err
	}
	out := &struct {
		head
		Next   string     `xml:"nextToken,omitempty"`
		Groups []xmlGroup `xml:"securityGroupInfo>item"`
	}{}
	found, next, err := find(d, s.network.groups, groupKind)
	for _, g := range found {
		x := xmlGroup{Account, g.id, g.name, g.name, VPC, nil, []xmlRule{{Protocol: "-1", Ranges: []xmlRuleSource{{"0.0.0.0/0"}}}}}
		for _, r := range g.rules {
			rule := xmlRule{Protocol: "tcp", From: &r.Port, To: &r.Port}
			if strings.HasPrefix(r.Source, "sg-") {
				rule.Groups = []xmlRuleGroup{{Account, r.Source}}
			} else {
				rule.Ranges = []xmlRuleSource{{r.Source}}
			}
			x.In = append(x.In, rule)
		}
		out.Groups = append(out.Groups, x)
	}
	out.Next = next
	return out, err
}
