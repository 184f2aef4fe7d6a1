package dockerengine

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"slices"
	"strings"
	"time"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"
)

const (
	newsInterval = time.Second // how often a pull is reported
	pullTries    = 4
	pullPause    = 500 * time.Millisecond // after the first try; it doubles
	pullPatience = 20 * time.Second       // with a registry that does not even begin to hand out the image
)

// pullPatiently pulls an image, again if it is cut off or the registry is busy, within PullTimeout. What was brought
// before a pull was cut off, the engine keeps.
func (h *host) pullPatiently(ctx context.Context, image string, say func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, h.opts.PullTimeout)
	defer cancel()
	patience := time.Now().Add(pullPatience)
	wait := pullPause
	for try := 1; ; try++ {
		begun, err := h.pullOnce(ctx, image, say)
		if err == nil || try == pullTries || ctx.Err() != nil || !worthRepeating(err) || !begun && time.Now().After(patience) {
			return err
		}
		h.log.Warn("a pull failed and is tried again", "image", image, "try", try, "error", err)
		say(fmt.Sprintf("pulling image %s failed and is tried again: %v", image, err))
		if pause(ctx, wait+rand.N(wait/2)) != nil {
			return err // the timeout says less than what failed
		}
		wait *= 2
	}
}

// worthRepeating reports whether a pull that failed may succeed without anybody changing anything.
func worthRepeating(err error) bool {
	_, asking := errors.AsType[authError](err)
	return !asking && !isRefusal(err) && !errdefs.IsInvalidArgument(err)
}

// isRefusal reports whether the registry says that the image is not there, or not for us.
func isRefusal(err error) bool {
	if errdefs.IsNotFound(err) || errdefs.IsUnauthorized(err) || errdefs.IsPermissionDenied(err) {
		return true
	}
	// Docker 20.10 calls it an internal error, as it does everything that a registry says. Only the words tell. A
	// mistake here costs a few tries, or saves them.
	words := strings.ToLower(err.Error())
	return slices.ContainsFunc(refusals, func(refusal string) bool { return strings.Contains(words, refusal) })
}

var refusals = []string{"unauthorized", "no basic auth credentials", "authentication required", "access denied", "denied: "}

// pullOnce pulls an image. begun says whether the registry has begun to hand it out.
func (h *host) pullOnce(ctx context.Context, image string, say func(string)) (begun bool, err error) {
	auth, header, err := h.auth(ctx, image)
	if err != nil {
		return false, err
	}
	say("pulling image " + image)
	stream, err := h.docker.ImagePull(ctx, image, client.ImagePullOptions{RegistryAuth: header})
	if err != nil {
		return false, hide(auth, err)
	}
	defer stream.Close()
	var layers pullProgress
	next := time.Now().Add(newsInterval)
	for msg, err := range stream.JSONMessages(ctx) {
		if err != nil {
			return true, hide(auth, err)
		}
		if msg.Error != nil {
			return true, hide(auth, msg.Error)
		}
		layers.add(msg)
		if now := time.Now(); now.After(next) {
			next = now.Add(newsInterval)
			say("pulling image " + image + ": " + layers.String())
		}
	}
	return true, context.Cause(ctx) // a stream that was cut by the deadline ends without an error
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
