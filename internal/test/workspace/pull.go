package workspace

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/moby/moby/api/types/jsonstream"
	"github.com/moby/moby/client"
)

const (
	// pullAnswer is how long a registry may take for its first answer. A machine without a registry must not wait for
	// the engine's own timeout, which is minutes.
	pullAnswer = 10 * time.Second
	// pullStall is how long a pull may make no progress after it has begun.
	pullStall = time.Minute
)

var (
	errRegistrySilent = fmt.Errorf("no registry answered within %v", pullAnswer)
	errPullStalled    = fmt.Errorf("the pull stood still for %v", pullStall)
)

// pull fetches the upstream image and tags it.
func pull(ctx context.Context, docker *client.Client, progress func(string)) error {
	ctx, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	silent := time.AfterFunc(pullAnswer, func() { cancel(errRegistrySilent) })
	defer silent.Stop()

	stream, err := docker.ImagePull(ctx, upstream, client.ImagePullOptions{})
	if err != nil {
		return pullError(ctx, err)
	}
	stalled := time.AfterFunc(pullAnswer+pullStall, func() { cancel(errPullStalled) })
	defer stalled.Stop()

	layers := newLayers()
	for message, err := range stream.JSONMessages(ctx) {
		if err != nil {
			return pullError(ctx, err)
		}
		if message.Error != nil {
			return message.Error
		}
		silent.Stop()
		stalled.Reset(pullStall)
		if line := layers.note(message); line != "" {
			progress(line)
		}
	}
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	_, err = docker.ImageTag(ctx, client.ImageTagOptions{Source: upstream, Target: Image})
	return err
}

// pullError returns the cause of a cancelled pull in place of its error.
func pullError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	return err
}

// layers reduces the engine's many messages to one line per layer and tenth.
type layers struct {
	tenths map[string]int64 // the last reported tenth, by layer and phase
}

func newLayers() *layers { return &layers{tenths: make(map[string]int64)} }

// note returns the line to show for a message, or "" if the message has no news.
func (l *layers) note(m jsonstream.Message) string {
	switch {
	case m.ID == "" || m.Status == "":
		return ""
	case m.Progress == nil || m.Progress.Total <= 0:
		if strings.HasSuffix(m.Status, "complete") {
			return fmt.Sprintf("layer %s: %s", m.ID, strings.ToLower(m.Status))
		}
		return ""
	}
	tenth := m.Progress.Current * 10 / m.Progress.Total
	key := m.ID + m.Status
	if last, reported := l.tenths[key]; reported && last >= tenth {
		return ""
	}
	l.tenths[key] = tenth
	return fmt.Sprintf("layer %s: %s %d %%", m.ID, strings.ToLower(m.Status), m.Progress.Current*100/m.Progress.Total)
}
