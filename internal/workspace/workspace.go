// Package workspace makes the image that examples and tests run their containers from: Debian with git, its HTTP
// and SSH transports, CA certificates and the small tools that a coding task expects to find.
//
// It asks for nothing but a Docker engine. The image in the engine is the cache; where there is none it is pulled,
// and where no registry answers it is put together from Debian's packages: those that the machine's apt offers, or
// those of a mirror that BERTH_DEBIAN_MIRROR names.
package workspace

import (
	"context"
	"errors"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

const (
	// Image is the tag under which the workspace image is kept in an engine.
	Image = "berth-workspace:bookworm"

	// upstream is the image that is pulled where a registry answers. It holds all that the built one does.
	upstream = "docker.io/library/buildpack-deps:bookworm-scm"
)

// Ensure returns the name of the workspace image and makes it first if the engine does not have it: by a pull, or else
// from Debian's packages. It may run several times at once; the last to finish keeps the tag.
//
// progress is called with one line for each step forward; nil means silence.
func Ensure(ctx context.Context, docker *client.Client, progress func(string)) (image string, err error) {
	_, err = docker.ImageInspect(ctx, Image)
	if err == nil {
		return Image, nil
	}
	if !errdefs.IsNotFound(err) {
		return "", fmt.Errorf("workspace: looking for image %s in the engine at %s: %w", Image, docker.DaemonHost(), err)
	}
	return Make(ctx, docker, progress)
}

// Make makes the image as Ensure does, also when the engine has it already.
func Make(ctx context.Context, docker *client.Client, progress func(string)) (image string, err error) {
	if progress == nil {
		progress = func(string) {}
	}
	pullErr := pull(ctx, docker, progress)
	if pullErr == nil {
		return Image, nil
	}
	if ctx.Err() != nil {
		return "", fmt.Errorf("workspace: making image %s: %w", Image, context.Cause(ctx))
	}
	progress(fmt.Sprintf("%s cannot be pulled (%v); making the image from Debian packages", upstream, pullErr))
	buildErr := build(ctx, docker, progress)
	if buildErr == nil {
		return Image, nil
	}
	return "", fmt.Errorf("workspace: image %s can neither be pulled nor built (set %s to a Debian mirror that this machine reaches, or tag any image with git and sh as %s): %w",
		Image, mirrorVariable, Image, errors.Join(pullErr, buildErr))
}

// Build makes the image from Debian's packages without trying a registry.
func Build(ctx context.Context, docker *client.Client, progress func(string)) (image string, err error) {
	if progress == nil {
		progress = func(string) {}
	}
	if err := build(ctx, docker, progress); err != nil {
		return "", fmt.Errorf("workspace: %w", err)
	}
	return Image, nil
}
