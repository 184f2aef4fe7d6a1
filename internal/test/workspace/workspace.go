// Package workspace makes the image that examples and tests run their containers from: Debian with git, its HTTP
// and SSH transports, CA certificates and the small tools that a coding task expects to find.
//
// It needs only a Docker engine. The image in the engine is the cache. If the engine lacks the image, the image is
// pulled. If no registry answers, it is made from Debian's packages: those of the machine's apt, or those of a mirror
// that BERTH_DEBIAN_MIRROR names.
package workspace

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"
)

const (
	// Image is the tag under which the workspace image is kept in an engine.
	Image = "berth-workspace:bookworm"

	// upstream is the image to pull. It has everything that the built image has.
	upstream = "docker.io/library/buildpack-deps:bookworm-scm"
)

// Ensure returns the name of the workspace image. If the engine does not have it, Ensure makes it: by a pull, or else
// from Debian's packages. It may run several times at once, and the last run sets the tag.
//
// progress is called with one line for each step. It may be nil.
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

// Make makes the image as Ensure does, even if the engine has it already.
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
	buildErr := build(ctx, docker, Image, wanted, progress)
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
	if err := build(ctx, docker, Image, wanted, progress); err != nil {
		return "", fmt.Errorf("workspace: %w", err)
	}
	return Image, nil
}

// With returns the name of the workspace image with more of Debian's packages, which a test needs. It is made from packages if the engine
// does not have it.
func With(ctx context.Context, docker *client.Client, progress func(string), packages ...string) (image string, err error) {
	image = "berth-workspace-" + strings.Join(packages, "-") + ":bookworm"
	if _, err := docker.ImageInspect(ctx, image); err == nil || !errdefs.IsNotFound(err) {
		return image, err
	}
	if err := build(ctx, docker, image, slices.Concat(wanted, packages), progress); err != nil {
		return "", fmt.Errorf("workspace: %w", err)
	}
	return image, nil
}
