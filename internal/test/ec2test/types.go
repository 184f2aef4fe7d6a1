package ec2test

import (
	"fmt"
	"slices"
	"strings"
	"time"
)

type xmlType struct {
	Name          string   `xml:"instanceType"`
	Current       bool     `xml:"currentGeneration"`
	Usage         []string `xml:"supportedUsageClasses>item"`
	RootTypes     []string `xml:"supportedRootDeviceTypes>item"`
	BareMetal     bool     `xml:"bareMetal"`
	Hypervisor    string   `xml:"hypervisor"`
	Architectures []string `xml:"processorInfo>supportedArchitectures>item"`
	VCPUs         int      `xml:"vCpuInfo>defaultVCpus"`
	MiB           int      `xml:"memoryInfo>sizeInMiB"`
	Storage       bool     `xml:"instanceStorageSupported"`
	Burstable     bool     `xml:"burstablePerformanceSupported"`
}

var typeKind = kind[instanceType]{
	id: func(t instanceType) string { return t.name },
	attributes: map[string]func(instanceType) string{
		"instance-type":                         func(t instanceType) string { return t.name },
		"current-generation":                    func(instanceType) string { return "true" },
		"bare-metal":                            func(instanceType) string { return "false" },
		"processor-info.supported-architecture": func(t instanceType) string { return t.arch },
		"burstable-performance-supported":       func(t instanceType) string { return fmt.Sprint(t.burstable) },
		"vcpu-info.default-vcpus":               func(t instanceType) string { return fmt.Sprint(t.vcpus) },
		"memory-info.size-in-mib":               func(t instanceType) string { return fmt.Sprint(t.mib) },
	},
	missing: func(ids []string) error {
		return fail("InvalidInstanceType", "The following supplied instance types do not exist: [%s]", strings.Join(ids, ", "))
	},
}

func (s *Server) describeInstanceTypes(p params, now time.Time) (any, error) {
	d := s.readDescribe(p, now, "InstanceType", 100)
	if err := p.done(); err != nil {
		return nil, err
	}
	out := &struct {
		head
		Next  string    `xml:"nextToken,omitempty"`
		Types []xmlType `xml:"instanceTypeSet>item"`
	}{}
	found, next, err := find(d, types, typeKind)
	for _, t := range found {
		out.Types = append(out.Types, xmlType{t.name, true, []string{"on-demand", "spot"}, []string{"ebs"}, false, "nitro", []string{t.arch}, t.vcpus, t.mib, false, t.burstable})
	}
	out.Next = next
	return out, err
}

// offering is a type of instances in a zone.
type offering struct{ zone, typ string }

// Withhold removes a type of instances from a zone, as some zones of AWS lack types. See SetCapacity for a zone that
// has none left.
func (s *Server) Withhold(zone, instanceType string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.catalog.withheld[offering{zone, instanceType}] = true
}

// offered returns the zones that have a type.
func (s *Server) offered(typ string) []string {
	return slices.DeleteFunc(s.Zones(), func(zone string) bool { return s.catalog.withheld[offering{zone, typ}] })
}

type xmlOffering struct {
	Type         string `xml:"instanceType"`
	LocationType string `xml:"locationType"`
	Location     string `xml:"location"`
}

var offeringKind = kind[xmlOffering]{
	id: func(o xmlOffering) string { return o.Location + " " + o.Type },
	attributes: map[string]func(xmlOffering) string{
		"instance-type": func(o xmlOffering) string { return o.Type },
		"location":      func(o xmlOffering) string { return o.Location },
	},
}

func (s *Server) describeInstanceTypeOfferings(p params, now time.Time) (any, error) {
	d := s.readDescribe(p, now, "none", 1000)
	by := p.oneOf("LocationType", "region", "availability-zone")
	if err := p.done(); err != nil {
		return nil, err
	}
	var all []xmlOffering
	places := []string{s.opts.Region}
	if by != "region" {
		places = s.Zones()
	}
	for _, place := range places {
		for _, t := range types {
			zones := s.offered(t.name)
			if slices.Contains(zones, place) || by == "region" && len(zones) > 0 {
				all = append(all, xmlOffering{t.name, by, place})
			}
		}
	}
	found, next, err := find(d, all, offeringKind)
	return &struct {
		head
		Next      string        `xml:"nextToken,omitempty"`
		Offerings []xmlOffering `xml:"instanceTypeOfferingSet>item"`
	}{Next: next, Offerings: found}, err
}
