package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/snapshot"
	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// findSnapshot describes the snapshot that a request names; nil = it names none. It is asked for before the session waits for its place: what is
// not there starts no container.
func findSnapshot(ctx context.Context, from orchestrator.SnapshotStore, r *Request) (*snapshot.Header, error) {
	if r.Snapshot == "" {
		return nil, nil
	}
	reader, err := openSnapshot(ctx, from, r)
	if err != nil {
		return nil, &errs.StartError{Phase: store.PhaseCheckout, TaskID: r.TaskID, Repository: r.Key.Repository, Err: err}
	}
	return &reader.Header, reader.Close()
}

// openSnapshot opens the snapshot that a request names. One of another repository, or of other users than those with whom
// Config.Sharing lets the request share, is not there: its ID does not say so, and neither does its header.
func openSnapshot(ctx context.Context, from orchestrator.SnapshotStore, r *Request) (*snapshot.Reader, error) {
	reader, err := snapshot.Open(ctx, from, r.Snapshot)
	if err != nil {
		return nil, snapshotError(r, err)
	}
	h := reader.Header
	owner := snapshot.Owner{Repository: r.Key.Repository, Scope: r.SnapshotScope, User: h.User}
	if owner.ID(h.Name) != r.Snapshot || h.Repository != r.Key.Repository.String() {
		reader.Close()
		return nil, snapshotError(r, orchestrator.ErrNoSnapshot)
	}
	return reader, nil
}

// snapshotError says which snapshot an error is about. What is no answer of the store is a failure of it.
func snapshotError(r *Request, err error) error {
	if !errors.Is(err, orchestrator.ErrNoSnapshot) && !errors.Is(err, orchestrator.ErrSnapshotCorrupt) {
		err = fmt.Errorf("%w: the store of snapshots: %w", errs.ErrUnavailable, err)
	}
	return fmt.Errorf("snapshot %q: %w", snapshot.NameOf(r.Snapshot), err)
}

// restore makes the checkout what the snapshot says, if the request names one.
func (o *opening) restore(ctx context.Context, checkout agent.Checkout) (_ agent.Checkout, err error) {
	if o.base == nil {
		return checkout, nil
	}
	ctx, done := o.restoring(ctx)
	defer func() { done(err) }()
	ctx, cancel := context.WithTimeout(ctx, openTimeout)
	defer cancel()
	reader, err := openSnapshot(ctx, o.cfg.Snapshots, o.r)
	if err != nil {
		return checkout, err
	}
	defer reader.Close()
	if reader.Header.Commit != o.base.Commit {
		return checkout, fmt.Errorf("%w: snapshot %q was replaced meanwhile", errs.ErrUnavailable, o.base.Name)
	}
	failed, err := reader.Restore(ctx, o.inside, o.s.ID)
	switch {
	case failed != nil:
		return checkout, fmt.Errorf("snapshot %q: %w", o.base.Name, failed)
	case err == nil:
		checkout.Branch = reader.Header.Branch
		return checkout, nil
	case isGone(err), errors.Is(err, agent.ErrOverLimit), errors.Is(err, agent.ErrUnknownSession), errors.Is(err, errors.ErrUnsupported), ctx.Err() != nil:
		return checkout, err
	}
	return checkout, snapshotError(o.r, err)
}

// restoring begins the phase in which a checkout gets work that was kept. For the record, it is a part of the checkout.
func (o *opening) restoring(ctx context.Context) (context.Context, func(error)) {
	begun := time.Now()
	ctx, phase := o.cfg.Telemetry.Phase(ctx, telemetry.PhaseRestore)
	return ctx, func(err error) {
		o.phases.Checkout += time.Since(begun)
		phase.End(err)
	}
}

// noBase says of which snapshot the commit is that the repository does not have any more.
func (o *opening) noBase(err error) error {
	if o.base != nil && errors.Is(err, agent.ErrBranchNotFound) {
		return fmt.Errorf("snapshot %q begins with the commit %s: %w", o.base.Name, o.base.Commit, err)
	}
	return err
}
