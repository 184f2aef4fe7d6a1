package berth

import (
	"context"
	"errors"
	"fmt"

	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// What the pool and the orchestrator tell: events are made of it, and sessions end whose place is gone.

func (p *Provider) onProgress(c store.Container, message string) {
	p.events.emit(Event{
		Type: EventProgress, Repository: c.SharingKey.Repository, Container: c.Name, Instance: c.Instance, Message: message,
	})
}

func (p *Provider) onContainerGone(c store.Container) {
	p.events.emit(Event{Type: EventContainerGone, Repository: c.SharingKey.Repository, Container: c.Name, Instance: c.Instance})
	p.wakeUp() // its name is free
}

func (p *Provider) onContainerLost(c store.Container, cause error) {
	p.events.emit(Event{
		Type: EventContainerLost, Repository: c.SharingKey.Repository, Container: c.Name, Instance: c.Instance, Err: cause,
	})
	p.endAll(store.SessionQuery{Container: c.ID}, store.Failure{
		Reason: endContainerLost, Message: orchestrator.Clean(fmt.Sprintf("container %s: %v", c.Name, cause)),
	})
}

// endAbsent ends a session that its container does not have: the store was set back to a backup, and the session has
// ended since that was made.
func (p *Provider) endAbsent(c store.Container, id string) {
	p.end(id, store.Failure{Reason: endContainerLost, Message: fmt.Sprintf("container %s does not have it", c.Name)})
}

// endContainer ends the sessions of a container that is gone, in case the one who lost it could not.
func (p *Provider) endContainer(c store.Container) {
	p.endAll(store.SessionQuery{Container: c.ID}, store.Failure{
		Reason: endContainerLost, Message: fmt.Sprintf("container %s was removed", c.Name),
	})
}

func (p *Provider) onInstance(in store.Instance) {
	state := string(in.State)
	switch in.State {
	case "":
		state = "gone"
		p.orch.Forget(in.ID)
	case store.InstanceReady:
		p.prefetch(in)
		p.loops.Go(func() { p.sweep(p.ctx, &in) }) // what another store has left there is told at once
	case store.InstanceCordoned:
		if in.Outlook == string(pool.OutlookInterrupted) {
			p.warn(in)
		}
	case store.InstanceLost:
		p.endInstance(in)
	}
	p.events.emit(Event{Type: EventInstanceChange, Instance: in.ID, Message: state, Err: reasonError(in.Reason)})
	p.wakeUp()
}

// probe is the pool's probe: what the host has been told of its future is the pool's to judge.
func (p *Provider) probe(ctx context.Context, in *store.Instance) error {
	err := p.orch.Probe(ctx, in)
	notice, ok := errors.AsType[*orchestrator.NoticeError](err)
	if !ok {
		return err
	}
	outlook := pool.OutlookRebalance
	if notice.Notice == orchestrator.NoticeInterrupted {
		outlook = pool.OutlookInterrupted
	}
	return &pool.OutlookError{Outlook: outlook, Reason: notice.Error()}
}

// prefetch brings the image of most containers to an instance that has become ready, before the first of them needs it.
func (p *Provider) prefetch(in store.Instance) {
	if p.ctx.Err() != nil {
		return
	}
	p.loops.Go(func() {
		err := p.orch.Prefetch(p.ctx, &in, p.cfg.Image, func(message string) {
			p.events.emit(Event{Type: EventProgress, Instance: in.ID, Message: message})
		})
		if err != nil { // the first container tries again, and says why it cannot
			p.failed("cannot bring the image to an instance", err, "instance", in.ID)
		}
	})
}

// warn tells the sessions of an instance that it is about to be taken back.
func (p *Provider) warn(in store.Instance) {
	q := store.SessionQuery{Instance: in.ID, States: []store.SessionState{store.SessionCreating, store.SessionActive}}
	for s, err := range store.Sessions(p.ctx, p.store, q) {
		if err != nil {
			p.failed("cannot find the sessions to warn", err, "instance", in.ID)
			return
		}
		p.emit(EventSessionEndangered, s, reasonError(in.Reason))
	}
}

// endInstance ends the sessions of an instance that is lost.
func (p *Provider) endInstance(in store.Instance) {
	p.endAll(store.SessionQuery{Instance: in.ID}, store.Failure{
		Reason: endInstanceLost, Message: orchestrator.Clean(fmt.Sprintf("instance %s: %s", in.ID, in.Reason)),
	})
}

func reasonError(reason string) error {
	if reason == "" {
		return nil
	}
	return errors.New(reason)
}
