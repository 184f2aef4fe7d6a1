package ec2test

import (
	"slices"
	"strconv"
	"strings"
	"time"
)

type xmlImage struct {
	ID             string         `xml:"imageId"`
	Location       string         `xml:"imageLocation"`
	State          string         `xml:"imageState"`
	Owner          string         `xml:"imageOwnerId"`
	Created        string         `xml:"creationDate"`
	Public         bool           `xml:"isPublic"`
	Architecture   string         `xml:"architecture"`
	Type           string         `xml:"imageType"`
	Alias          string         `xml:"imageOwnerAlias,omitempty"`
	Name           string         `xml:"name"`
	RootType       string         `xml:"rootDeviceType"`
	RootName       string         `xml:"rootDeviceName"`
	Disks          []xmlImageDisk `xml:"blockDeviceMapping>item"`
	Virtualization string         `xml:"virtualizationType"`
	Hypervisor     string         `xml:"hypervisor"`
	ENA            bool           `xml:"enaSupport"`
	Platform       string         `xml:"platformDetails"`
}

type xmlImageDisk struct {
	Name                string `xml:"deviceName"`
	Snapshot            string `xml:"ebs>snapshotId"`
	GiB                 int    `xml:"ebs>volumeSize"`
	DeleteOnTermination bool   `xml:"ebs>deleteOnTermination"`
	Type                string `xml:"ebs>volumeType"`
	Encrypted           bool   `xml:"ebs>encrypted"`
}

var imageKind = kind[*image]{
	code: "InvalidAMIID", prefix: "ami", name: "image", id: func(i *image) string { return i.id },
	attributes: map[string]func(*image) string{
		"image-id":            func(i *image) string { return i.id },
		"architecture":        func(i *image) string { return i.arch },
		"name":                func(i *image) string { return i.name },
		"owner-id":            func(i *image) string { return i.owner },
		"owner-alias":         func(i *image) string { return i.alias },
		"state":               func(*image) string { return "available" },
		"is-public":           func(*image) string { return "true" },
		"root-device-type":    func(*image) string { return "ebs" },
		"virtualization-type": func(*image) string { return "hvm" },
	},
	missing: func(ids []string) error {
		return fail("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", strings.Join(ids, ", "))
	},
}

func (s *Server) describeImages(p params, now time.Time) (any, error) {
	d := s.readDescribe(p, now, "ImageId", 1000)
	owners := p.list("Owner")
	p.boolean("IncludeDeprecated", false) // none is
	if err := p.done(); err != nil {
		return nil, err
	}
	all := s.catalog.available()
	if len(owners) > 0 {
		all = slices.DeleteFunc(all, func(i *image) bool {
			return !slices.Contains(owners, i.owner) && (i.alias == "" || !slices.Contains(owners, i.alias))
		})
	}
	out := &struct {
		head
		Next   string     `xml:"nextToken,omitempty"`
		Images []xmlImage `xml:"imagesSet>item"`
	}{}
	found, next, err := find(d, all, imageKind)
	for _, i := range found {
		out.Images = append(out.Images, xmlImage{
			ID: i.id, Location: i.owner + "/" + i.name, State: "available", Owner: i.owner, Created: i.created, Public: true,
			Architecture: i.arch, Type: "machine", Alias: i.alias, Name: i.name, RootType: "ebs", RootName: i.device,
			Disks:          []xmlImageDisk{{i.device, i.snapshot, i.gib, true, "gp3", false}},
			Virtualization: "hvm", Hypervisor: "xen", ENA: true, Platform: "Linux/UNIX",
		})
	}
	out.Next = next
	return out, err
}

type xmlParameter struct {
	ARN              string
	DataType         string
	LastModifiedDate float64
	Name             string
	Type             string
	Value            string
	Version          int
}

func (s *Server) xmlParameter(p *parameter) xmlParameter {
	return xmlParameter{"arn:aws:ssm:" + s.opts.Region + "::parameter" + p.name, "aws:ec2:image", 1.7e9, p.name, "String", p.image, p.version}
}

func (s *Server) findParameter(name string) *parameter {
	i := slices.IndexFunc(s.catalog.parameters, func(p *parameter) bool { return p.name == name })
	if i < 0 {
		return nil
	}
	return s.catalog.parameters[i]
}

func (s *Server) getParameter(p params, _ time.Time) (any, error) {
	name := p.required("Name")
	p.boolean("WithDecryption", false)
	if p.done() != nil {
		return nil, fail("ValidationException", "ec2test: %v", p.done())
	}
	found := s.findParameter(name)
	if found == nil {
		return nil, fail("ParameterNotFound", "Parameter %s not found.", name)
	}
	return map[string]any{"Parameter": s.xmlParameter(found)}, nil
}

// maxParameters is the most parameters that one call of GetParameters may name.
const maxParameters = 10

func (s *Server) getParameters(p params, _ time.Time) (any, error) {
	names := p.list("Names")
	p.boolean("WithDecryption", false)
	if p.done() != nil || len(names) == 0 || len(names) > maxParameters {
		return nil, fail("ValidationException", "ec2test: %s names, %v", strconv.Itoa(len(names)), p.done())
	}
	found, unknown := []xmlParameter{}, []string{}
	for _, name := range names {
		if one := s.findParameter(name); one != nil {
			found = append(found, s.xmlParameter(one))
		} else {
			unknown = append(unknown, name)
		}
	}
	return map[string]any{"Parameters": found, "InvalidParameters": unknown}, nil
}

func (s *Server) getCallerIdentity(p params, _ time.Time) (any, error) {
	if err := p.done(); err != nil {
		return nil, err
	}
	return &struct {
		head
		ARN     string `xml:"GetCallerIdentityResult>Arn"`
		User    string `xml:"GetCallerIdentityResult>UserId"`
		Account string `xml:"GetCallerIdentityResult>Account"`
	}{ARN: userARN, User: "AIDAEC2TEST000000001", Account: Account}, nil
}
