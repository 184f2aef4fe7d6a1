package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/access"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/snapshot"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// openTimeout bounds the making of a checkout.
const openTimeout = 10 * time.Minute

// populateTimeout bounds one with submodules or files of Git LFS. It is more than the agent gives git.
const populateTimeout = time.Hour + openTimeout

// opening is the way of one session into its container.
type opening struct {
	*Manager
	r      *Request
	s      *store.Session
	inside orchestrator.Inside
	trial  access.Trial // of the request's access
	cred   orchestrator.Credential
	proven bool             // its access is proven, or need not be
	prep   preparing        // of its repository's workspace
	phases store.Phases     // of its own: a fetch, the checkout
	branch string           // that is checked out: of the request, or the commit of a snapshot or of saved work
	base   *snapshot.Header // of the snapshot from which it starts; nil = none
}

// open waits for the session's container, makes the checkout and marks the session active. An error for which isGone holds
// says that the session may be given another place.
func (m *Manager) open(ctx context.Context, r *Request, s *store.Session, base *snapshot.Header) (Placed, error) {
	o := &opening{Manager: m, r: r, s: s, trial: m.cfg.Proofs.Try(r.Access), cred: r.Credential, branch: r.Branch, base: base}
	o.cred.Source = o.source()
	if base != nil && base.Commit != "" {
		o.branch = base.Commit
	}
	if err := o.connect(ctx); err != nil {
		return Placed{}, err
	}
	attached := s.Start == store.StartAttached
	if !attached {
		kind, err := m.startKind(ctx, s.Container)
		if err != nil {
			return Placed{}, o.fail(ctx, store.PhaseStarting, err)
		}
		s.Start = kind
	}
	checkout, err := o.enter(ctx, attached)
	if err != nil {
		return Placed{}, err
	}
	active, err := m.activate(ctx, s, checkout, o.phases)
	if err == nil {
		o.prepared(checkout)
	}
	if errors.Is(err, agent.ErrGone) {
		return Placed{}, o.fail(ctx, store.PhaseStarting, err)
	}
	return active, err
}

// checkOutFresh makes the checkout, from a mirror that is fresh enough and has the branch.
func (o *opening) checkOutFresh(ctx context.Context, attached bool) (agent.Checkout, error) {
	if attached {
		if err := o.refresh(ctx); err != nil {
			return agent.Checkout{}, err
		}
	}
	if err := o.awaitPrepared(ctx); err != nil {
		return agent.Checkout{}, o.fail(ctx, store.PhaseCheckout, err)
	}
	checkout, err := o.checkOut(ctx)
	if errors.Is(err, agent.ErrProofRequired) { // another's start has needed a credential, or a fetch has since the refresh
		if err := o.prove(ctx); err != nil {
			return agent.Checkout{}, err
		}
		checkout, err = o.checkOut(ctx)
	}
	if errors.Is(err, agent.ErrBranchNotFound) && o.branch != "" && !attached {
		// The start has fetched what branches and tags reach, for all who waited, and Branch may be a commit beside them.
		if err := o.refresh(ctx); err != nil {
			return agent.Checkout{}, err
		}
		checkout, err = o.checkOut(ctx)
	}
	if err != nil {
		return agent.Checkout{}, o.tooOld(o.fail(ctx, store.PhaseCheckout, o.noBase(err)))
	}
	return checkout, nil
}

// connect starts the container, or waits for the process that does, and connects to it.
func (o *opening) connect(ctx context.Context) (err error) {
	start := o.cfg.Containers.Start(ctx, o.s.Container, o.cred)
	if o.inside, err = o.cfg.Containers.Inside(ctx, o.s.Container); err == nil {
		err = o.cfg.Containers.CheckIsolation(ctx, o.s.Container)
	}
	if err == nil {
		o.known(start.Proven())
		return nil
	}
	if errors.Is(context.Cause(ctx), errs.ErrRevoked) {
		start.GiveUp()
	}
	failure := o.fail(ctx, store.PhaseStarting, err)
	switch {
	case failure.Phase != store.PhaseFetching || errors.Is(failure.Err, agent.ErrGone):
	case start.Own():
		return o.refused(failure)
	default:
		failure.Err = fmt.Errorf("%w: %w", failure.Err, errNotOurs)
	}
	return failure
}

// errNotOurs says that the fetch failed with the credential of another task: that says nothing of this one's.
var errNotOurs = notOurs{}

type notOurs struct{}

func (notOurs) Error() string { return agent.ErrGone.Error() }
func (notOurs) Unwrap() error { return agent.ErrGone }

// refresh brings the mirror up to date, and proves access if that is still to be proven.
func (o *opening) refresh(ctx context.Context) error {
	begun := time.Now()
	defer func() { o.phases.Fetch += time.Since(begun) }()
	s := *o.s
	s.Branch = o.branch
	mirror, err := o.cfg.Containers.Refresh(ctx, &s, o.inside, o.cred, !o.proven)
	if errors.Is(err, agent.ErrBranchNotFound) {
		return o.fail(ctx, store.PhaseCheckout, o.noBase(err))
	}
	return o.learn(ctx, mirror, err)
}

func (o *opening) checkOut(ctx context.Context) (agent.Checkout, error) {
	timeout := openTimeout
	if o.r.Submodules || o.r.LFS {
		timeout = populateTimeout
	}
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	begun := time.Now()
	defer func() { o.phases.Checkout += time.Since(begun) }()
	return o.inside.Open(ctx, agent.Session{
		ID: o.s.ID, UID: o.s.UID, Dir: orchestrator.CheckoutDir(o.r.Key.Repository), URL: o.r.Remote.URL, Branch: o.branch,
		Author: o.r.Author, Env: o.r.environ(o.cfg.Env), SelfContained: o.r.SelfContained,
		Proven: o.proven, Caches: o.cfg.Caches, Prepare: o.prep.what, Bare: o.base != nil, Credentials: o.cfg.Credentials.Ask != nil,
		KnownHosts: o.cfg.KnownHosts, SSH: o.cfg.Credentials.SSH.Ask != nil,
		Submodules: o.r.Submodules, LFS: o.r.LFS,
	})
}

// fail makes the error of a phase that has failed.
func (o *opening) fail(ctx context.Context, phase store.Phase, err error) *errs.StartError {
	if failure, ok := errors.AsType[*orchestrator.StartFailure](err); ok {
		phase, err = failure.Phase, failure.Err
	}
	switch {
	case errors.Is(err, context.DeadlineExceeded) && ctx.Err() == nil: // of a bound of ours, not of the caller
		err = fmt.Errorf("%w: no answer in time: %v", errs.ErrUnavailable, err)
	case errors.Is(err, orchestrator.ErrUnreachable):
		err = fmt.Errorf("%w: %w", errs.ErrUnavailable, err)
	}
	if phase == store.PhaseFetching {
		err = explainFetch(o.r.Key.Repository, err)
	}
	return &errs.StartError{Phase: phase, TaskID: o.r.TaskID, Repository: o.r.Key.Repository, Err: err}
}

// startKind returns what a container's start found, for a session that waited for it.
func (m *Manager) startKind(ctx context.Context, container string) (store.StartKind, error) {
	c, err := store.Read[*store.Container](ctx, m.cfg.Store, store.ContainerKey(container))
	switch {
	case err != nil:
		return "", err
	case c == nil:
		return "", agent.ErrGone
	case c.Cold:
		return store.StartCold, nil
	}
	return store.StartWarm, nil
}
