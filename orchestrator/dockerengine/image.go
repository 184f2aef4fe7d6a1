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

// The images for containers of which the configuration names none: the one that berth's own `make image` makes, and
// the public one that it is like.
const (
	localImage  = "berth-workspace:bookworm"
	publicImage = "buildpack-deps:bookworm-scm"
)

// candidates returns the images that will do, the best first. The last is the one to pull.
func candidates(image string) []string {
	if image != "" {
		return []string{image}
	}
	return []string{localImage, publicImage}
}

var _ orchestrator.Prefetcher = (*host)(nil)

// Prefetch implements [orchestrator.Prefetcher].
func (h *host) Prefetch(ctx context.Context, image string, progress func(string)) error {
	images := candidates(image)
	for _, image := range images {
		has, err := h.hasImage(ctx, image)
		if err != nil {
			return explain(h.at.Address, err)
		}
		if has {
			return nil
		}
	}
	return h.pull(ctx, images, progress)
}

// hasImage reports whether the engine has an image. Ensure asks only after a container could not be made: the engine's
// own refusal tells of a missing image at no cost.
func (h *host) hasImage(ctx context.Context, image string) (bool, error) {
	ctx, cancel := h.bound(ctx)
	defer cancel()
	_, err := h.docker.ImageInspect(ctx, image)
	if errdefs.IsNotFound(err) || errdefs.IsInvalidArgument(err) { // what is no image's name is no image
		return false, nil
	}
	return err == nil, err
}

// pull brings the last of the images to the engine, once for all who ask for it meanwhile. The engine has none of them.
func (h *host) pull(ctx context.Context, images []string, say func(string)) error {
	image := images[len(images)-1]
	_, err := h.images.do(ctx, image, say, func(ctx context.Context, say func(string)) (struct{}, error) {
		// Another pull may have ended between the look at the engine and this one.
		if has, err := h.hasImage(ctx, image); has || err != nil {
			return struct{}{}, err
		}
		return struct{}{}, h.pullPatiently(ctx, image, say)
	}, nil)
	switch {
	case err == nil:
		return nil
	case ctx.Err() != nil:
		return context.Cause(ctx)
	case errors.Is(err, errHostClosed):
		return err
	case client.IsErrConnectionFailed(err): // which says nothing about the image
		return explain(h.at.Address, err)
	}
	return h.noImage(images, err)
}

// noImage is the error for an image that is not there and cannot be pulled. pulled is the last of those tried.
func (h *host) noImage(tried []string, err error) error {
	pulled := tried[len(tried)-1]
	advice := fmt.Sprintf("Bring it there with `docker pull %s` or `docker load`, or set Config.Image to an image with git and sh that the engine has.", pulled)
	if len(tried) > 1 {
		advice = fmt.Sprintf("Make one with `make image` in berth's source, bring one there with `docker pull %s`, or set Config.Image to an image with git and sh that the engine has.", pulled)
	}
	if isRefusal(err) {
		advice += " If it is private, dockerengine.Options.RegistryAuth must return credentials that may read it."
	}
	return fmt.Errorf("%w: the Docker engine at %s does not have %s, and cannot pull %s: %w. %s",
		orchestrator.ErrImage, h.at.Address, strings.Join(tried, " or "), pulled, err, advice)
}
