package dockerengine

import (
	"context"
	"errors"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth/internal/hostboot"
	"github.com/berth-go/berth/orchestrator"
)

// A machine that package hostboot has set up expects a sign of life from its manager, and gives it notices. Other machines
// do neither.

const (
	kindTouch  = "touch"  // the volume that shows the machine that a manager lives
	kindNotice = "notice" // a volume that announces an event of the machine
)

// setUp reports whether package hostboot has set up the machine, which then has an identity of its own.
func (p *prober) setUp() bool { return p.at.Trust != "" }

// touch shows the machine that a manager lives. Without that, the machine powers off in the end.
func (p *prober) touch(ctx context.Context) error {
	if !p.setUp() {
		return nil
	}
	made, err := p.docker.VolumeCreate(ctx, client.VolumeCreateOptions{Name: hostboot.TouchVolume, Labels: p.labels(kindTouch)})
	if err == nil {
		err = needs(made.Volume.Name != "", "the making of volume "+hostboot.TouchVolume, "Name")
	}
	return err
}

// notice returns an *orchestrator.NoticeError if the cloud has given the machine notice.
func (p *prober) notice(ctx context.Context) error {
	if !p.setUp() {
		return nil
	}
	list, err := p.listVolumes(ctx, p.filter(kindNotice))
	if err != nil {
		return err
	}
	var worst *orchestrator.NoticeError
	for _, v := range list {
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

// isNotice reports whether an error of a probe is a notice and not a failure.
func isNotice(err error) bool {
	_, ok := errors.AsType[*orchestrator.NoticeError](err)
	return ok
}
