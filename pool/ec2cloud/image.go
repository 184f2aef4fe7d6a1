package ec2cloud

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/aws/aws-sdk-go-v2/aws"
	"github.com/aws/aws-sdk-go-v2/service/ec2"
	"github.com/aws/aws-sdk-go-v2/service/ec2/types"
	"github.com/aws/aws-sdk-go-v2/service/ssm"

	"github.com/berth-go/berth/pool"
)

// Amazon's images for ECS have a container engine.
const (
	ecsImage      = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
	ecsImageArm64 = "/aws/service/ecs/optimized-ami/amazon-linux-2023/arm64/recommended/image_id"
)

// How long an image stays pinned. AWS makes new ones every few weeks; instances of another one are drained.
const (
	imageTerm  = 24 * time.Hour
	imageRetry = time.Minute // after a failure
)

// image is what a launch needs to know of one.
type image struct {
	ID, Name, Arch string
	RootDevice     string // e.g. /dev/xvda
	GiB            int    // of its snapshot
}

// images are pinned: a launch today uses the image of yesterday, until a day has passed or EC2 says that it is gone.
type images struct {
	gate gate // held while one is resolved

	mu     sync.Mutex // protects pinned
	pinned map[string]pin
}

type pin struct {
	image
	at   time.Time // when it was resolved
	next time.Time // when to resolve it again
	gone bool      // EC2 does not know it any more
}

// imageSource returns the ID or the SSM parameter of the image for an architecture.
func (c *Cloud) imageSource(arch string) string {
	switch {
	case c.opts.ImageID != "":
		return c.opts.ImageID
	case c.opts.ImageParameter != "":
		return c.opts.ImageParameter
	case arch == string(types.ArchitectureValuesArm64):
		return ecsImageArm64
	}
	return ecsImage
}

// image returns the image for an architecture.
func (c *Cloud) image(ctx context.Context, arch string) (image, error) {
	source := c.imageSource(arch)
	p, fresh := c.images.get(source)
	if !fresh {
		var err error
		if p, err = c.pin(ctx, source); err != nil {
			return image{}, err
		}
	}
	if p.Arch != arch {
		return image{}, fmt.Errorf("%w: image %s (%s) is for %s, and the instance type is %s", pool.ErrPermanent, p.ID, source, p.Arch, arch)
	}
	return p.image, nil
}

// pin resolves a source. When that fails, the last good image stays.
func (c *Cloud) pin(ctx context.Context, source string) (pin, error) {
	if err := c.images.gate.enter(ctx); err != nil {
		return pin{}, err
	}
	defer c.images.gate.leave()
	p, fresh := c.images.get(source)
	if fresh {
		return p, nil
	}
	found, err := c.resolve(ctx, source)
	switch {
	case err == nil:
		if p.ID != "" && p.ID != found.ID {
			c.log.Info("launches use another image from now on", "was", p.ID, "is", found.ID, "name", found.Name)
		}
		now := time.Now()
		p = pin{image: found, at: now, next: now.Add(imageTerm)}
	case p.ID == "" || p.gone || ctx.Err() != nil:
		return pin{}, err
	default:
		c.log.Warn("cannot look for a newer image; the last one stays", "image", p.ID, "error", err)
		p.next = time.Now().Add(imageRetry)
	}
	c.images.put(source, p)
	return p, nil
}

func (i *images) get(source string) (p pin, fresh bool) {
	i.mu.Lock()
	defer i.mu.Unlock()
	p = i.pinned[source]
	return p, time.Now().Before(p.next)
}

func (i *images) put(source string, p pin) {
	i.mu.Lock()
	defer i.mu.Unlock()
	i.pinned[source] = p
}

// lost notes that EC2 does not know an image. It is resolved again before the next launch.
func (i *images) lost(id string) {
	i.mu.Lock()
	defer i.mu.Unlock()
	for source, p := range i.pinned {
		if p.ID == id {
			p.gone, p.next = true, time.Time{}
			i.pinned[source] = p
		}
	}
}

// resolve asks AWS which image a source names.
func (c *Cloud) resolve(ctx context.Context, source string) (image, error) {
	id := source
	if !strings.HasPrefix(source, "ami-") {
		out, err := call(ctx, c.limits.read, actGetParameter, c.ssm.GetParameter, &ssm.GetParameterInput{Name: &source})
		if err != nil {
			return image{}, fmt.Errorf("the image that %s names: %w", source, err)
		}
		id = aws.ToString(out.Parameter.Value)
	}
	// By a filter, since to name an image that is gone is an error with a code of its own. What is deprecated can be launched.
	out, err := call(ctx, c.limits.read, actDescribeImages, c.ec2.DescribeImages,
		&ec2.DescribeImagesInput{Filters: []types.Filter{filter("image-id", id)}, IncludeDeprecated: aws.Bool(true)})
	if err != nil {
		return image{}, fmt.Errorf("image %s: %w", id, err)
	}
	n := slices.IndexFunc(out.Images, func(i types.Image) bool { return aws.ToString(i.ImageId) == id })
	if n < 0 {
		return image{}, fmt.Errorf("%w: image %s (%s) does not exist, or is not shared with this account", pool.ErrPermanent, id, source)
	}
	found := out.Images[n]
	i := image{ID: id, Name: aws.ToString(found.Name), Arch: string(found.Architecture), RootDevice: aws.ToString(found.RootDeviceName)}
	for _, d := range found.BlockDeviceMappings {
		if aws.ToString(d.DeviceName) == i.RootDevice && d.Ebs != nil {
			i.GiB = int(aws.ToInt32(d.Ebs.VolumeSize))
		}
	}
	return i, nil
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}
