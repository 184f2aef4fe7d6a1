package ec2test

import (
	"fmt"
	"slices"
	"strings"
)

// instanceType is a kind of machine.
type instanceType struct {
	name, arch string
	vcpus, mib int
	spotPrice  float64 // the lowest price for which it is sold, in dollars per hour
	burstable  bool
}

// types are sorted by name.
var types = []instanceType{
	{"c7i.xlarge", "x86_64", 4, 8192, 0.07, false},
	{"m5.large", "x86_64", 2, 8192, 0.035, false},
	{"m7g.large", "arm64", 2, 8192, 0.03, false},
	{"m7i.large", "x86_64", 2, 8192, 0.04, false},
	{"m7i.xlarge", "x86_64", 4, 16384, 0.08, false},
	{"t3.large", "x86_64", 2, 8192, 0.025, true},
	{"t3.micro", "x86_64", 2, 1024, 0.003, true},
	{"t4g.large", "arm64", 2, 8192, 0.02, true},
}

func typeNamed(name string) (instanceType, bool) {
	i := slices.IndexFunc(types, func(t instanceType) bool { return t.name == name })
	if i < 0 {
		return instanceType{}, false
	}
	return types[i], true
}

// image is an AMI.
type image struct {
	id, name, owner, alias, arch, device, snapshot, created string
	gib                                                     int
	private, gone                                           bool // of another account; deregistered
}

// parameter is a parameter of SSM.
type parameter struct {
	name, image string
	version     int
}

type catalog struct {
	images     []*image
	parameters []*parameter
	withheld   map[offering]bool      // the instance types that a zone does not have
	spot       map[offering]spotPrice // see SetSpotPrice
}

// The SSM parameters of a new Server. They name images.
const (
	ECSAmd64    = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
	ECSArm64    = "/aws/service/ecs/optimized-ami/amazon-linux-2023/arm64/recommended/image_id"
	AL2023Amd64 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-x86_64"
	AL2023Arm64 = "/aws/service/ami-amazon-linux-latest/al2023-ami-kernel-default-arm64"
	UbuntuAmd64 = "/aws/service/canonical/ubuntu/server/24.04/stable/current/amd64/hvm/ebs-gp3/ami-id"
	UbuntuArm64 = "/aws/service/canonical/ubuntu/server/24.04/stable/current/arm64/hvm/ebs-gp3/ami-id"
)

func (c *catalog) init(s *Server) {
	c.withheld, c.spot = map[offering]bool{}, map[offering]spotPrice{}
	for _, name := range []string{ECSAmd64, ECSArm64, AL2023Amd64, AL2023Arm64, UbuntuAmd64, UbuntuArm64} {
		c.parameters = append(c.parameters, &parameter{name: name})
		c.release(s, name)
	}
}

// release makes a new image and lets a parameter name it.
func (c *catalog) release(s *Server, name string) string {
	i := slices.IndexFunc(c.parameters, func(p *parameter) bool { return p.name == name })
	if i < 0 {
		panic(fmt.Sprintf("ec2test: no parameter is named %q", name))
	}
	p := c.parameters[i]
	p.version++
	img := &image{id: s.id("ami"), snapshot: s.id("snap"), owner: "137112412989", alias: "amazon", arch: "x86_64", device: "/dev/xvda",
		gib: 8, created: fmt.Sprintf("2026-11-%02dT00:00:00.000Z", min(p.version, 30))}
	if strings.Contains(name, "arm64") {
		img.arch = "arm64"
	}
	family := "al2023-ami-2023"
	switch {
	case strings.Contains(name, "/ecs/"):
		family, img.owner, img.gib = "al2023-ami-ecs-hvm-2023", "591542846629", 30
	case strings.Contains(name, "/canonical/"):
		family, img.owner, img.alias, img.device = "ubuntu/images/hvm-ssd-gp3/ubuntu-noble-24.04-server", "099720109477", "", "/dev/sda1"
	}
	img.name = fmt.Sprintf("%s-%s-%d", family, img.arch, p.version)
	c.images = append(c.images, img)
	p.image = img.id
	return img.id
}

// Image returns the ID of the image that an SSM parameter names.
func (s *Server) Image(parameter string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, p := range s.catalog.parameters {
		if p.name == parameter {
			return p.image
		}
	}
	panic(fmt.Sprintf("ec2test: no parameter is named %q", parameter))
}

// ReleaseImage makes an SSM parameter name a new image, as AWS does every few weeks, and returns the image's ID. The
// old image stays.
func (s *Server) ReleaseImage(parameter string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.catalog.release(s, parameter)
}

// Deregister makes an image vanish. Instances that run it continue.
func (s *Server) Deregister(id string) { s.onImage(id, func(i *image) { i.gone = true }) }

// Unshare makes an image belong to another account that has stopped sharing it.
func (s *Server) Unshare(id string) { s.onImage(id, func(i *image) { i.private = true }) }

func (s *Server) onImage(id string, do func(*image)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, img := range s.catalog.images {
		if img.id == id {
			do(img)
			return
		}
	}
	panic(fmt.Sprintf("ec2test: no image has the ID %q", id))
}

// available returns the images that the account may see, in the order of their IDs.
func (c *catalog) available() []*image {
	return slices.DeleteFunc(slices.Clone(c.images), func(i *image) bool { return i.gone || i.private })
}

// image returns the image of a launch.
func (c *catalog) image(id string) (*image, error) {
	if err := checkIDs("InvalidAMIID", "ami", []string{id}); err != nil {
		return nil, err
	}
	for _, i := range c.images {
		switch {
		case i.id != id || i.gone:
		case i.private:
			return nil, fail("AuthFailure", "Not authorized for images: [%s]", id)
		default:
			return i, nil
		}
	}
	return nil, fail("InvalidAMIID.NotFound", "The image id '[%s]' does not exist", id)
}
