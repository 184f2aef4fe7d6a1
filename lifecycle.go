package berth

import (
	"cmp"
	"context"
	"fmt"
	"time"

	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/internal/plain"
	"github.com/berth-go/berth/internal/session"
	"github.com/berth-go/berth/internal/teardown"
	"github.com/berth-go/berth/internal/warmth"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/pool"
)

// CreateSession gives a task its place: in the running container of its repository, or in a new one on an instance with a
// free slot. While there is none, it waits. It returns when the checkout is there.
//
// If the TaskID has a session already, CreateSession returns that session, provided that user, repository, branch, sharing
// key, SelfContained, Submodules and LFS are the same; otherwise ErrTaskConflict. If the context ends first, or the creation fails otherwise, what
// was begun is undone. CreateSession waits for that, but for no more than 5 s; the rest is done in the background.
//
// Config.Authorize is asked first, each time, unless the remote has refused the same request within the last 10 s: see
// ErrAccessDenied. Other errors: ErrInvalid (a *FieldError names the field), ErrAccessDenied
// (Config.Authorize refuses the request, or the remote refuses its credential: see Config.Access), *StartError (the
// container or the checkout could not be made), ErrNoCapacity (see there), ErrQuota (a *QuotaError says which limit of the
// user), ErrTerminated and ErrRevoked (the session was ended while it was created),
// ErrInstanceLost and ErrContainerLost (its place was lost more than once), ErrSuspended and ErrAbandoned (this process
// was cut off from the store), ErrUnavailable, ErrDestroying, ErrClosed. After store.ErrUnknownOutcome the session may
// exist until it is undone. All but ErrInvalid and ErrTaskConflict may be repeated with the same TaskID. Retryable says
// when that is of use.
func (p *Provider) CreateSession(ctx context.Context, req SessionRequest) (_ *Session, err error) {
	defer func() { err = plain.Error(err) }()
	if err := p.calls.enter(); err != nil {
		return nil, err
	}
	defer p.calls.leave()
	r, err := req.parse(&p.cfg)
	if err != nil {
		return nil, err
	}
	ctx, start := p.events.telemetry.Start(ctx, r.TaskID, r.Key.Repository)
	created, err := p.sessions.Create(ctx, r)
	start.End(created.Session, created.Existing, err)
	if err != nil {
		return nil, err
	}
	return p.session(created.Session, created.Instance), nil
}

// TerminateSession ends a session, and returns when that is done. It kills every process of the session, and removes its
// checkout and everything else that it owned. If no other session holds its container, it stops and removes the container, unless that
// stays for Config.ContainerIdleTimeout.
// Terminating an ended session succeeds. ErrSessionNotFound: the ID is unknown. If ctx ends first, the work goes on.
func (p *Provider) TerminateSession(ctx context.Context, id string) error {
	if err := p.calls.enter(); err != nil {
		return err
	}
	defer p.calls.leave()
	if !session.IsID(id) {
		return fmt.Errorf("session %q: %w", id, ErrSessionNotFound)
	}
	ctx, termination := p.events.telemetry.Termination(ctx, id)
	err := p.sessions.Terminate(ctx, id, "")
	termination.End(err)
	return err
}

// Revoke ends what a user has on a repository: every session, whether it is active, being created or waiting, in whichever
// process. It returns nil when nothing is left of them; their callers get ErrRevoked. It also makes every process of the pool
// forget what it remembers of the user's access. A creation that is under way and has no session yet is authorized once
// more. A start of a container is given up if it fetches with the credential of a session that ends so; sessions of others that
// wait for it get another. repository is any spelling of its remote, or what naming.Repository's String gives; "" means all that the user has.
//
// Revoke says nothing of the future: a user who is still authorized may begin new sessions, and those stay. So take the right
// away first, and then revoke. To revoke again, or for a user who has nothing, succeeds. Revoke ends sessions at once, and
// each takes as long as TerminateSession. If ctx ends first, the error says so, and the work goes on as long as this process
// lives. If the process ends, call Revoke again. The error joins those of all sessions. Other errors: ErrInvalid,
// ErrUnavailable, ErrClosed.
func (p *Provider) Revoke(ctx context.Context, userID, repository string) error {
	if err := p.calls.enter(); err != nil {
		return err
	}
	defer p.calls.leave()
	if !isUserID(userID) {
		return &FieldError{Field: "userID", Reason: userIDRule}
	}
	var of naming.Repository
	if repository != "" {
		var err error
		if of, err = parseEither(repository); err != nil {
			return &FieldError{Field: "repository", Reason: err.Error()}
		}
	}
	if err := p.sessions.Revoke(ctx, userID, of); err != nil {
		return fmt.Errorf("berth: cannot revoke what user %q has on %s: %w", userID, cmp.Or(of.String(), "any repository"), err)
	}
	return nil
}

// Warm is a budget of containers that are kept up without sessions. Each takes room of one slot that no session needs. If a host wants
// more, those for which it asked last have the budget. What hosts leave of it is the planner's own choice.
type Warm struct {
	Containers  int // of the pool, at most 1000
	PerInstance int // of one instance. Default: as many as it has slots
	// Refresh is how often the mirror of a warm container is fetched that no session holds, so that the first session finds little to
	// fetch. Default 5 min, -1 = never
	Refresh time.Duration
}

func (w Warm) budget() warmth.Budget {
	return warmth.Budget{Containers: w.Containers, PerInstance: w.PerInstance}
}

// defaultWarmRefresh is the default of Warm.Refresh.
const defaultWarmRefresh = 5 * time.Minute

// Warm asks that a container of a repository is up, with a fresh mirror, before a session needs it, until a time. A webhook of a push
// may call it, each time: that fetches once more, and the last call's time is in force. repository is a remote, as for CreateSession.
// If it has a credential, that is used for the fetch which follows, by this process; it is not stored. branch is what will be asked
// for; "" = the default branch. Sessions join the container as any other, with a proof of access if a credential has fetched.
//
// Warm returns when the wish is stored. All processes of the pool know it. EventContainerWarm tells when the container is up, or
// why it is not. The wish is fulfilled within Config.Warm, on instances that there are: none is launched or kept for it. If its room
// is needed for a session, or it dies, the container goes. The planner starts it again, without a credential, when there is
// room; a repository that needs a credential then comes up again with the next call of Warm, or with a session. When the time is
// over, the container stays for Config.ContainerIdleTimeout, counted from its last session or its start.
//
// ErrInvalid: Config.Warm is zero, until is not in the future, or the repository, the branch or Config.Sharing do not say for which
// container the wish is. Sharing.Key is asked with a request that has a repository and a branch alone. Other errors: ErrDestroying,
// ErrUnavailable, ErrClosed.
func (p *Provider) Warm(ctx context.Context, repository, branch string, until time.Time) (err error) {
	defer func() { err = plain.Error(err) }()
	if err := p.calls.enter(); err != nil {
		return err
	}
	defer p.calls.leave()
	if p.cfg.Warm.Containers == 0 {
		return &FieldError{Field: "Config.Warm", Reason: "has no containers to keep warm"}
	}
	if left := time.Until(until); left <= 0 || left > longest {
		return &FieldError{Field: "until", Reason: "must be in the future, and within 100 years"}
	}
	ask, err := p.cfg.warmth(repository, branch)
	if err != nil {
		return err
	}
	ask.Until = until
	return p.warmth.Warm(ctx, ask)
}

// Cool takes back what Warm asked for, for the same repository, and for the same branch if Config.Sharing separates branches. The
// container stays as one that Warm did not ask for, which the planner may keep up by its own choice: see Config.Warm. Without a
// Warm, Cool does nothing. The errors are those of Warm.
func (p *Provider) Cool(ctx context.Context, repository, branch string) (err error) {
	defer func() { err = plain.Error(err) }()
	if err := p.calls.enter(); err != nil {
		return err
	}
	defer p.calls.leave()
	ask, err := p.cfg.warmth(repository, branch)
	if err != nil {
		return err
	}
	return p.warmth.Cool(ctx, ask.Name)
}

// closeGrace is how long Close waits for calls under way to undo what they had begun.
const closeGrace = 10 * time.Second

// Close stops the background work, and returns when it has stopped. Instances, containers, sessions and their commands
// live on, and another Provider over the same Store finds them. Before that one ends a session whose lease ran out
// meanwhile, it asks the session's container for how long the session has had no command and no KeepAlive. Creations under
// way end with ErrClosed. They, and calls of TerminateSession, have 10 s to finish what they have begun. With a Store in
// memory nothing finds the sessions again: use Destroy. Close is idempotent.
func (p *Provider) Close() error {
	p.calls.shut()
	p.sessions.Interrupt(ErrClosed)

	ended := make(chan struct{})
	go func() {
		p.calls.wait()
		p.sessions.Stop()
		close(ended)
	}()
	_ = loop.Wait(context.Background(), closeGrace, ended) // after that, what goes on is cut off
	p.files.Close()
	p.stop()
	p.containers.Close()
	<-ended
	p.loops.Wait()
	p.replica.Resign(closeGrace)
	if !p.events.wait(closeGrace) {
		p.cfg.Logger.Warn("Config.OnEvent does not return: Close does not wait for it any more", "events", p.events.waiting())
	}
	return nil
}

// Destroy ends every session of the pool, also those of other replicas, removes the pool's containers, mirrors, networks
// and volumes, terminates its instances, and closes the Provider. It also terminates instances that no record knows, as
// after a restore from a backup, if they carry the identity of the pool's store. It returns nil when the cloud shows none of
// them. It clears the engine of NewLocalProvider even if no record knows it. It waits for a launch that was refused less
// than a minute ago, since the cloud's list may not show its instance yet.
//
// From its beginning no session can be created on the pool. When it is done, the next New opens the pool again. If ctx ends
// first, Destroy returns without closing. Its error names what is left or may be left, and the pool stays closed to
// sessions: call it again. A Close meanwhile ends it with ErrClosed. If the process ends before Destroy is done, the other
// replicas open the pool again half a minute later, with what is left of it. Destroying a destroyed pool succeeds.
func (p *Provider) Destroy(ctx context.Context) error {
	if err := p.calls.enter(); err != nil {
		if p.destroyed.Load() {
			return nil
		}
		return err
	}
	ctx, cancel := context.WithCancelCause(ctx)
	stop := context.AfterFunc(p.ctx, func() { cancel(ErrClosed) }) // nothing is ended any more after Close
	err := teardown.Destroy(ctx, p.teardown())
	stop()
	cancel(nil)
	p.calls.leave()
	if err != nil {
		return fmt.Errorf("berth: cannot destroy the pool: %w", err)
	}
	p.destroyed.Store(true)
	return p.Close()
}

func (p *Provider) teardown() teardown.Config {
	cfg := teardown.Config{
		Replica: p.id, Store: p.store, Sessions: p.sessions, Containers: p.containers, Empties: p.warmth, Pool: p.pool,
		Acting: p.replica.Acting, Failures: p.failures,
	}
	if cloud, ok := p.cfg.Cloud.(pool.Stationary); ok {
		cfg.StationaryAddress = cloud.Address()
	}
	return cfg
}
