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
	// pullAnswer is how long a registry has for its first word. A machine without one must not wait for the
	// engine's own patience, which is minutes.
	pullAnswer = 10 * time.Second
	// pullStall is how long a pull may stand still once it has begun.
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

// pullError prefers the reason for which a pull was cancelled to the fact that it was.
func pullError(ctx context.Context, err error) error {
	if cause := context.Cause(ctx); cause != nil && errors.Is(err, context.Canceled) {
		return cause
	}
	return err
}

// layers turns the engine's many messages into one line per layer and tenth.
type layers struct {
	tenths map[string]int64 // layer and phase: the tenth that was last told
}

func newLayers() *layers { return &layers{tenths: make(map[string]int64)} }

// note returns the line to show for a message, or "" when it says nothing new.
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
	if last, told := l.tenths[key]; told && last >= tenth {
		return ""
	}
	l.tenths[key] = tenth
	return fmt.Sprintf("layer %s: %s %d %%", m.ID, strings.ToLower(m.Status), m.Progress.Current*100/m.Progress.Total)
}
