package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

// The default images of containers. The first is made by `make image` of berth. The second is a similar public image.
const (
	localImage  = "berth-workspace:bookworm"
	publicImage = "buildpack-deps:bookworm-scm"
)

// candidates returns the images that can be used, the best first. The last one is pulled if the engine has none.
func candidates(image string) []string {
	if image != "" {
		return []string{image}
	}
	return []string{localImage, publicImage}
}

// images gets images for the engine. It owns the pulls that are under way.
type images struct {
	*daemon
	pulls flights[struct{}] // by reference
}

// Prefetch implements [orchestrator.Prefetcher]. It also makes the warden, so that the first container need not wait for it.
// A Purge meanwhile ends it.
func (h *host) Prefetch(ctx context.Context, image string, progress func(string)) error {
	return h.early.do(ctx, func(ctx context.Context) error {
		image, err := h.images.bring(ctx, image, progress)
		if err == nil && h.runtimeHasRooms() {
			_, err = h.warden.ensure(ctx, image)
		}
		return err
	})
}

// bring returns the image of a spec, or the first of the default images that the engine has. If it has none, the last one
// is pulled.
func (i *images) bring(ctx context.Context, image string, progress func(string)) (string, error) {
	images := candidates(image)
	for _, image := range images {
		has, err := i.has(ctx, image)
		if err != nil {
			return "", explain(i.at.Address, err)
		}
		if has {
			return image, nil
		}
	}
	return images[len(images)-1], i.pull(ctx, images, progress)
}

// has reports whether the engine has an image. Ensure asks only after a container could not be made, because the
// engine's refusal shows at no cost that the image is missing.
func (i *images) has(ctx context.Context, image string) (bool, error) {
	ctx, cancel := i.bound(ctx)
	defer cancel()
	found, err := i.docker.ImageInspect(ctx, image)
	if errdefs.IsNotFound(err) || errdefs.IsInvalidArgument(err) { // invalid: image is not a possible name
		return false, nil
	}
	if err == nil {
		err = needs(found.ID != "", "the inspection of image "+image, "Id")
	}
	return err == nil, err
}

// pull pulls the last of the images, once for all concurrent callers. The engine has none of the images.
func (i *images) pull(ctx context.Context, images []string, say func(string)) error {
	image := images[len(images)-1]
	_, err := i.pulls.do(ctx, image, say, func(ctx context.Context, say func(string)) (struct{}, error) {
		// Another pull may have ended since the caller asked the engine.
		if has, err := i.has(ctx, image); has || err != nil {
			return struct{}{}, err
		}
		return struct{}{}, i.pullPatiently(ctx, image, say)
	}, nil)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errHostClosed):
		return err
	case client.IsErrConnectionFailed(err): // not the image's fault
		return explain(i.at.Address, err)
	}
	return i.noImage(images, err)
}

// noImage returns the error for images that the engine does not have. err says why the last of them cannot be pulled.
func (i *images) noImage(tried []string, err error) error {
	pulled := tried[len(tried)-1]
	advice := fmt.Sprintf("Load it with `docker pull %s` or `docker load`, or set Config.Image to an image of the engine that has git and sh.", pulled)
	if len(tried) > 1 {
		advice = fmt.Sprintf("Make one with `make image` in berth's source, load one with `docker pull %s`, or set Config.Image to an image of the engine that has git and sh.", pulled)
	}
	if isRefusal(err) {
		advice += " If it is private, dockerengine.Options.RegistryAuth must return credentials that may read it."
	}
	return fmt.Errorf("%w: the Docker engine at %s does not have %s, and cannot pull %s: %w. %s",
		orchestrator.ErrImage, i.at.Address, strings.Join(tried, " or "), pulled, err, advice)
}
