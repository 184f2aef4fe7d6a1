package session

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// Work is what is done in the repository of a session beside its checkout.
type Work interface {
	// FindWork returns what is saved of a task.
	FindWork(ctx context.Context, s *store.Session, task string) (Found, error)
	// RestoreWork makes of a checkout of Found.CheckOut what was saved, and returns its branch; "" = HEAD is detached.
	RestoreWork(ctx context.Context, s *store.Session, f Found) (branch string, err error)
	// BeginBranch begins a branch in a session. It may be repeated.
	BeginBranch(ctx context.Context, s *store.Session, name string) error
}

// Found is the saved work of a task.
type Found struct {
	Task     string
	CheckOut string // the branch or the commit to which it belongs; "" = the branch of the request
	Stored   bool   // it is in Config.Snapshots. Otherwise it is what CheckOut has, if the remote has that: it is not known before
}

// enterKept makes the checkout of a session with what is kept of another one on the instance.
func (o *opening) enterKept(ctx context.Context, attached bool) (agent.Checkout, error) {
	kept, err := o.inside.BringWork(ctx, o.r.RestoreKept, "")
	if err != nil {
		return agent.Checkout{}, o.failKept(ctx, err)
	}
	o.branch = cmp.Or(kept.Commit, o.branch)
	checkout, err := o.checkOutFresh(ctx, attached)
	if err != nil {
		return checkout, err
	}
	restoring, done := o.restoring(ctx)
	_, err = o.inside.BringWork(restoring, o.r.RestoreKept, o.s.ID)
	if done(err); err != nil {
		return checkout, o.failKept(ctx, err)
	}
	checkout.Branch, o.s.Restored = kept.Branch, true
	return checkout, nil
}

func (o *opening) failKept(ctx context.Context, err error) error {
	return o.fail(ctx, store.PhaseCheckout, fmt.Errorf("the kept work of session %s: %w", o.r.RestoreKept, err))
}

// enter makes the checkout of a session, with what the request restores and begins.
func (o *opening) enter(ctx context.Context, attached bool) (agent.Checkout, error) {
	if o.r.RestoreKept != "" {
		return o.enterKept(ctx, attached)
	}
	var found Found
	if o.r.Restore != "" {
		var err error
		if found, err = o.cfg.Work.FindWork(ctx, o.s, o.r.Restore); err != nil {
			return agent.Checkout{}, o.fail(ctx, store.PhaseCheckout, err)
		}
		if found.CheckOut != "" {
			o.branch = found.CheckOut
		}
	}
	restores := o.r.Restore != ""
	checkout, err := o.checkOutFresh(ctx, attached)
	if restores && !found.Stored && errors.Is(err, agent.ErrBranchNotFound) { // nothing is saved
		restores, o.branch = false, o.r.Branch
		checkout, err = o.checkOutFresh(ctx, attached)
	}
	if err != nil {
		return checkout, err
	}
	if restores {
		restoring, done := o.restoring(ctx)
		checkout.Branch, err = o.cfg.Work.RestoreWork(restoring, o.s, found)
		if done(err); err != nil {
			return checkout, o.fail(ctx, store.PhaseCheckout, err)
		}
		checkout.Commit, o.s.Restored = "", true
	}
	if checkout, err = o.restore(ctx, checkout); err != nil {
		return checkout, o.fail(ctx, store.PhaseCheckout, err)
	}
	if o.r.NewBranch != "" {
		if err := o.cfg.Work.BeginBranch(ctx, o.s, o.r.NewBranch); err != nil {
			return checkout, o.fail(ctx, store.PhaseCheckout, err)
		}
		checkout.Branch = o.r.NewBranch
	}
	return checkout, nil
}
