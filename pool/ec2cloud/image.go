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

	"github.com/berth-go/berth/pool"
)

// Amazon's images for ECS have a container engine.
const (
	ecsImage      = "/aws/service/ecs/optimized-ami/amazon-linux-2023/recommended/image_id"
	ecsImageArm64 = "/aws/service/ecs/optimized-ami/amazon-linux-2023/arm64/recommended/image_id"
)

// How long an image stays pinned. AWS makes new ones every few weeks. Instances of another image are drained.
const (
	imageTerm  = 24 * time.Hour
	imageRetry = time.Minute // after a failure
)

// image is an image as far as a launch needs it.
type image struct {
	ID, Name, Arch string
	RootDevice     string // e.g. /dev/xvda
	GiB            int    // of its snapshot
}

// images are the pinned images. Launches use the same image for a day, unless EC2 says that it is gone.
type images struct {
	*client
	archs *archs
	gate  gate // held while one is resolved

	mu     sync.Mutex // protects pinned
	pinned map[string]pin
}

type pin struct {
	image
	at   time.Time // when it was resolved
	next time.Time // when to resolve it again
	gone bool      // EC2 does not know the image any more
}

// imageSource returns the ID or the SSM parameter of the image for an architecture.
func (o Options) imageSource(arch string) string {
	switch {
	case o.ImageID != "":
		return o.ImageID
	case o.ImageParameter != "":
		return o.ImageParameter
	case arch == string(types.ArchitectureValuesArm64):
		return ecsImageArm64
	}
	return ecsImage
}

// of returns the image for an architecture.
func (i *images) of(ctx context.Context, arch string) (image, error) {
	source := i.opts.imageSource(arch)
	p, fresh := i.get(source)
	if !fresh {
		var err error
		if p, err = i.pin(ctx, source); err != nil {
			return image{}, err
		}
	}
	if p.Arch != arch {
		return image{}, fmt.Errorf("%w: image %s (%s) is for %s, and the instance type is %s", pool.ErrPermanent, p.ID, source, p.Arch, arch)
	}
	return p.image, nil
}

// ofTypes returns the images of instance types, each once.
func (i *images) ofTypes(ctx context.Context, names []string) ([]image, error) {
	archOf, err := i.archs.of(ctx, names)
	if err != nil {
		return nil, err
	}
	var all []image
	seen := make(map[string]bool)
	for _, typ := range names {
		arch := archOf[typ]
		if arch == "" {
			return nil, i.archs.noType(typ)
		}
		if seen[arch] {
			continue
		}
		seen[arch] = true
		found, err := i.of(ctx, arch)
		if err != nil {
			return nil, err
		}
		all = append(all, found)
	}
	return all, nil
}

// pin resolves a source. If that fails, the last good image stays.
func (i *images) pin(ctx context.Context, source string) (pin, error) {
	if err := i.gate.enter(ctx); err != nil {
		return pin{}, err
	}
	defer i.gate.leave()
	p, fresh := i.get(source)
	if fresh {
		return p, nil
	}
	found, err := i.resolve(ctx, source)
	switch {
	case err == nil:
		if p.ID != "" && p.ID != found.ID {
			i.log.Info("launches use another image from now on", "was", p.ID, "is", found.ID, "name", found.Name)
		}
		now := time.Now()
		p = pin{image: found, at: now, next: now.Add(imageTerm)}
	case p.ID == "" || p.gone || ctx.Err() != nil:
		return pin{}, err
	default:
		i.log.Warn("cannot look for a newer image; the last one stays", "image", p.ID, "error", err)
		p.next = time.Now().Add(imageRetry)
	}
	i.put(source, p)
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

// lost records that EC2 does not know an image. It is resolved again before the next launch.
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
func (i *images) resolve(ctx context.Context, source string) (image, error) {
	id := source
	if !strings.HasPrefix(source, "ami-") {
		var err error
		id, err = call(ctx, i.limits.read, actGetParameter, i.ssm.GetParameter, readParameter, &parameterInput{Name: source})
		if err != nil {
			return image{}, fmt.Errorf("the image that %s names: %w", source, err)
		}
	}
	// With a filter, because EC2 refuses a call that names an image which is gone. Deprecated images can still be launched.
	found, err := call(ctx, i.limits.read, actDescribeImages, i.ec2.DescribeImages, readImages,
		&ec2.DescribeImagesInput{Filters: []types.Filter{filter("image-id", id)}, IncludeDeprecated: aws.Bool(true)})
	if err != nil {
		return image{}, fmt.Errorf("image %s: %w", id, err)
	}
	n := slices.IndexFunc(found, func(one image) bool { return one.ID == id })
	if n < 0 {
		return image{}, fmt.Errorf("%w: image %s (%s) does not exist, or is not shared with this account", pool.ErrPermanent, id, source)
	}
	if one := found[n]; one.RootDevice == "" || one.Arch == "" {
		return image{}, fmt.Errorf("image %s: %s: %w: it has no architecture or no root device", id, actDescribeImages, errIncomplete)
	}
	return found[n], nil
}

func filter(name string, values ...string) types.Filter {
	return types.Filter{Name: &name, Values: values}
}
