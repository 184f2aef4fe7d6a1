package dockerengine

import (
	"context"
	"errors"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/orchestrator"
)

// What a machine that package hostboot has set up expects of its manager, and tells it. Others expect nothing.

const (
	kindTouch  = "touch"  // the volume that tells the machine that a manager lives
	kindNotice = "notice" // a volume by which the machine tells what is going to happen to it
)

// setUp reports whether the machine was set up by package hostboot: it has an identity of its own.
func (h *host) setUp() bool { return h.at.Trust != "" }

// touch tells the machine that a manager lives: else it powers off one day.
func (h *host) touch(ctx context.Context) error {
	if !h.setUp() {
		return nil
	}
	_, err := h.docker.VolumeCreate(ctx, client.VolumeCreateOptions{Name: hostboot.TouchVolume, Labels: h.labels(kindTouch)})
	return err
}

// notice returns an *orchestrator.NoticeError if the machine has been told that it has no future.
func (h *host) notice(ctx context.Context) error {
	if !h.setUp() {
		return nil
	}
	list, err := h.docker.VolumeList(ctx, client.VolumeListOptions{Filters: h.filter(kindNotice)})
	if err != nil {
		return err
	}
	var worst *orchestrator.NoticeError
	for _, v := range list.Items {
		n := &orchestrator.NoticeError{At: v.Labels[hostboot.LabelNoticeAt]}
		switch v.Labels[hostboot.LabelNotice] {
		case hostboot.NoticeInterrupted:
			n.Notice = orchestrator.NoticeInterrupted
		case hostboot.NoticeRebalance:
			n.Notice = orchestrator.NoticeRebalance
		default:
			continue
		}
		if worst == nil || n.Notice == orchestrator.NoticeInterrupted {
			worst = n
		}
	}
	if worst == nil {
		return nil
	}
	return worst
}

// isNotice reports whether an error of a probe is a notice, and no failure.
func isNotice(err error) bool {
	_, ok := errors.AsType[*orchestrator.NoticeError](err)
	return ok
}
