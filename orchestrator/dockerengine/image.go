package dockerengine

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

// The images for containers of which the configuration names none: the one that berth's own `make image` makes, and
// the public one that it is like.
const (
	localImage  = "berth-workspace:bookworm"
	publicImage = "buildpack-deps:bookworm-scm"
)

const newsInterval = time.Second // how often a pull is reported

// candidates returns the images that will do, the best first. The last is the one to pull.
func candidates(image string) []string {
	if image != "" {
		return []string{image}
	}
	return []string{localImage, publicImage}
}

// hasImage reports whether the engine has an image. It is asked only after a container could not be made: the engine's
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

// pull brings an image to the engine, once for all who ask for it meanwhile.
func (h *host) pull(ctx context.Context, image string, say func(string)) error {
	_, err := h.images.do(ctx, image, say, func(ctx context.Context, say func(string)) (struct{}, error) {
		return struct{}{}, h.pullOnce(ctx, image, say)
	}, nil)
	return err
}

func (h *host) pullOnce(ctx context.Context, image string, say func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, h.opts.PullTimeout)
	defer cancel()
	say("pulling image " + image)
	stream, err := h.docker.ImagePull(ctx, image, client.ImagePullOptions{})
	if err != nil {
		return err
	}
	defer stream.Close()
	var layers pullProgress
	next := time.Now().Add(newsInterval)
	for msg, err := range stream.JSONMessages(ctx) {
		if err != nil {
			return err
		}
		if msg.Error != nil {
			return msg.Error
		}
		layers.add(msg)
		if now := time.Now(); now.After(next) {
			next = now.Add(newsInterval)
			say("pulling image " + image + ": " + layers.String())
		}
	}
	return context.Cause(ctx) // a stream that was cut by the deadline ends without an error
}

// noImage is the error for an image that is not there and cannot be pulled. pulled is the last of those tried.
func (h *host) noImage(tried []string, err error) error {
	pulled := tried[len(tried)-1]
	advice := fmt.Sprintf("Bring it there with `docker pull %s` or `docker load`, or set Config.Image to an image with git and sh that the engine has.", pulled)
	if len(tried) > 1 {
		advice = fmt.Sprintf("Make one with `make image` in berth's source, bring one there with `docker pull %s`, or set Config.Image to an image with git and sh that the engine has.", pulled)
	}
	return fmt.Errorf("%w: the Docker engine at %s does not have %s, and cannot pull %s: %w. %s",
		orchestrator.ErrImage, h.at.Address, strings.Join(tried, " or "), pulled, err, advice)
}

// pullProgress adds up what an engine says of each layer.
type pullProgress struct {
	layers map[string]jsonstream.Progress
}

func (p *pullProgress) add(msg jsonstream.Message) {
	if msg.ID == "" || msg.Progress == nil || msg.Status != "Downloading" {
		return
	}
	if p.layers == nil {
		p.layers = map[string]jsonstream.Progress{}
	}
	p.layers[msg.ID] = *msg.Progress
}

func (p *pullProgress) String() string {
	var current, total int64
	for _, layer := range p.layers {
		current += layer.Current
		total += layer.Total
	}
	if total == 0 {
		return "in progress"
	}
	const mega = 1 << 20
	return fmt.Sprintf("%d of %d MiB", current/mega, total/mega)
}
