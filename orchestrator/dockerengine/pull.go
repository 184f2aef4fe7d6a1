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

	"github.com/berth-go/berth/internal/loop"
)

const (
	newsInterval = time.Second // how often a pull is reported
	pullTries    = 4
	pullPause    = 500 * time.Millisecond // after the first try; it doubles
	pullPatience = 20 * time.Second       // for tries at a registry that does not begin to send the image
)

// pullPatiently pulls an image within PullTimeout. It tries again if a pull is cut off or the registry is busy. The engine
// keeps the layers that it got before a pull was cut off.
func (i *images) pullPatiently(ctx context.Context, image string, say func(string)) error {
	ctx, cancel := context.WithTimeout(ctx, i.opts.PullTimeout)
	defer cancel()
	patience := time.Now().Add(pullPatience)
	wait := pullPause
	for try := 1; ; try++ {
		begun, err := i.pullOnce(ctx, image, say)
		if err == nil || try == pullTries || ctx.Err() != nil || !worthRepeating(err) || !begun && time.Now().After(patience) {
			return err
		}
		i.log.Warn("a pull failed and is tried again", "image", image, "try", try, "error", err)
		say(fmt.Sprintf("pulling image %s failed and is tried again: %v", image, err))
		if loop.Sleep(ctx, wait+rand.N(wait/2)) != nil {
			return err // which says more than the context's error
		}
		wait *= 2
	}
}

// worthRepeating reports whether a pull that failed may succeed if it is tried again.
func worthRepeating(err error) bool {
	_, asking := errors.AsType[authError](err)
	return !asking && !isRefusal(err) && !errdefs.IsInvalidArgument(err)
}

// isRefusal reports whether the registry says that it does not have the image, or does not give it to us.
func isRefusal(err error) bool {
	if errdefs.IsNotFound(err) || errdefs.IsUnauthorized(err) || errdefs.IsPermissionDenied(err) {
		return true
	}
	// Docker 20.10 reports every error of a registry as an internal one, so only the text distinguishes them. A wrong guess
	// causes a few tries too many, or too few.
	words := strings.ToLower(err.Error())
	return slices.ContainsFunc(refusals, func(refusal string) bool { return strings.Contains(words, refusal) })
}

var refusals = []string{"unauthorized", "no basic auth credentials", "authentication required", "access denied", "denied: "}

// pullOnce pulls an image. begun says whether the registry has begun to send it.
func (i *images) pullOnce(ctx context.Context, image string, say func(string)) (begun bool, err error) {
	auth, header, err := i.auth(ctx, image)
	if err != nil {
		return false, err
	}
	say("pulling image " + image)
	stream, err := i.docker.ImagePull(ctx, image, client.ImagePullOptions{RegistryAuth: header})
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
	return true, context.Cause(ctx) // a stream that the deadline has cut off ends without an error
}

// pullProgress adds up the progress of all layers.
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
