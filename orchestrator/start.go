package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// start makes the container run with a mirror that is up to date, and stores that the container is ready. If it fails, it
// stores why, for those that wait in other replicas. It does so before those that wait in this process learn of it, so
// that no session joins a start that has failed.
func (k *keeper) start(ctx context.Context, c *store.Container) error {
	ctx, cancel, err := k.m.acting(ctx)
	if err != nil {
		return errStopping
	}
	defer cancel()
	defer k.watchStart(ctx, cancel)()
	inside, mirror, err := k.startUp(ctx, c)
	if err == nil {
		err = k.storeReady(ctx, c, mirror)
	}
	if err == nil {
		k.inside = inside
		k.m.starts.Add(1)
		k.m.fillCaches(*c, inside, c.Remote)
		return nil
	}
	if inside != nil {
		inside.Close()
	}
	if ctx.Err() != nil {
		return errStopping // no session waits for the container any more
	}
	failure := store.Failure{}
	if !errors.Is(err, agent.ErrGone) { // which is not the container's fault: those that wait try another
		k.m.startFailures.Add(1)
		failure = startFailure(err)
	}
	k.m.cfg.Logger.Warn("a container did not start", k.about(ctx, c, "err", err)...)
	_ = k.giveUp(c, failure) // fails only when the Manager is closed
	return err
}

// about returns the attributes of a line of the log about the start of the container. ctx is that of the start.
func (k *keeper) about(ctx context.Context, c *store.Container, more ...any) []any {
	return k.m.cfg.LogArgs(ctx, append([]any{"container", c.Name, "instance", c.Instance}, more...)...)
}

// watchStart cancels a start when another replica has marked the container as stopping, or its instance is gone. It does
// so until stop is called.
func (k *keeper) watchStart(ctx context.Context, cancel context.CancelFunc) (stop func()) {
	wake, release := k.m.cfg.Store.Notify(store.ContainerKey(k.id))
	ctx, done := context.WithCancel(ctx)
	k.m.tasks.spawn(func() {
		for ctx.Err() == nil {
			c, in, err := k.m.records(ctx, k.id)
			if err == nil && (c == nil || c.State == store.ContainerStopping || !serves(in)) {
				cancel()
			}
			_ = loop.Wait(ctx, poll, wake)
		}
	})
	return func() { done(); release() }
}

// startUp starts the container and brings its mirror up to date.
func (k *keeper) startUp(ctx context.Context, c *store.Container) (Inside, agent.Mirror, error) {
	ensureCtx, cancel := context.WithTimeout(ctx, k.m.cfg.StartTimeout)
	defer cancel()
	begun := time.Now()
	inside, err := k.ensure(ensureCtx, c)
	if err != nil {
		return nil, agent.Mirror{}, &StartFailure{Phase: store.PhaseStarting, Err: err}
	}
	k.m.pace.add(time.Since(begun))
	c.Phases.Create = max(time.Since(begun)-c.Phases.Pull, 0)
	begun = time.Now()
	fetchCtx, cancel := context.WithTimeout(ctx, k.m.cfg.FetchTimeout)
	defer cancel()
	k.m.mu.Lock()
	cred := k.cred
	k.m.mu.Unlock()
	k.m.cfg.OnProgress(*c, "fetching the repository")
	mirror, err := k.m.fetchWith(fetchCtx, c, inside, cred, agent.Fetch{URL: c.Remote, Env: k.m.cfg.Env, Prove: k.m.cfg.Prove})
	k.m.mu.Lock()
	k.cred, k.fetched = Credential{}, true
	k.m.mu.Unlock()
	k.proven = mirror.Proven
	c.Phases.Fetch = time.Since(begun)
	if err != nil {
		return inside, mirror, &StartFailure{Phase: store.PhaseFetching, Err: err}
	}
	return inside, mirror, nil
}

// startTries is how often an engine is asked to start a container when it fails for no lasting reason.
const startTries = 3

// ensure makes the container run and attaches to it.
func (k *keeper) ensure(ctx context.Context, c *store.Container) (Inside, error) {
	for try := 1; ; try++ {
		var inside Inside
		err := k.untilReached(ctx, c, func() (err error) {
			inside, err = k.ensureOnce(ctx, c)
			return err
		})
		if err == nil || try == startTries || ctx.Err() != nil || lasting(err) {
			return inside, err
		}
		k.m.failures.Report("cannot start a container; trying again", err, k.about(ctx, c, "try", try)...)
		if loop.Sleep(ctx, time.Duration(try)*500*time.Millisecond) != nil {
			return nil, err
		}
	}
}

var reachPauses = loop.Pauses{First: 100 * time.Millisecond, Longest: 2 * time.Second}

// untilReached repeats fn while it returns ErrUnreachable, because an engine that restarts comes back, until ctx ends. fn
// checks that the instance is still there.
func (k *keeper) untilReached(ctx context.Context, c *store.Container, fn func() error) error {
	var err, lost error
	_ = loop.Retry(ctx, reachPauses, func() (done bool) { // if ctx ends in a pause, err is the last failure
		err = fn()
		if err != nil && ctx.Err() != nil {
			err = cmp.Or(lost, err)
			return true
		}
		if !errors.Is(err, ErrUnreachable) {
			return true
		}
		if lost == nil {
			k.m.failures.Report("cannot reach the engine of a container; trying again", err, k.about(ctx, c)...)
			k.m.cfg.OnProgress(*c, "waiting for the engine, which cannot be reached")
		}
		lost = err
		return false
	})
	return err
}

// lasting reports whether trying again soon cannot help.
func lasting(err error) bool {
	for _, final := range []error{ErrImage, ErrRuntime, ErrNoIsolation, ErrNameTaken, ErrInUse, ErrWrongHost, errInstanceGone, errEgress} {
		if errors.Is(err, final) {
			return true
		}
	}
	return false
}

func (k *keeper) ensureOnce(ctx context.Context, c *store.Container) (Inside, error) {
	in, err := k.m.hosts.instance(ctx, c.Instance)
	if err != nil {
		return nil, err
	}
	h, err := k.m.hosts.to(ctx, in)
	if err != nil {
		return nil, err
	}
	egress, err := k.m.cfg.egressOf(c.SharingKey)
	if err != nil {
		return nil, err
	}
	spec := ContainerSpec{
		Name: c.Name, Key: c.SharingKey, Limits: k.m.cfg.Limits, Sessions: in.Slots, RequireIsolation: k.m.cfg.RequireIsolation,
		Egress: egress,
	}
	if spec.Image, err = k.m.cfg.imageOf(c.SharingKey.Repository); err != nil {
		return nil, err
	}
	k.m.cfg.OnProgress(*c, "starting the container")
	made, err := h.Ensure(ctx, spec, func(message string) { k.m.cfg.OnProgress(*c, message) })
	k.m.storeIsolation(ctx, in, made, err)
	if err != nil {
		return nil, err
	}
	c.EngineID, c.Isolation = made.ID, made.Isolation.Level
	c.Image, c.Phases.Pull = spec.Image, made.Pulled
	if !made.Adopted { // whose maker may have had other settings
		c.Settings, _ = k.m.cfg.settingsOf(c.SharingKey, in.Slots)
	}
	inside, err := h.Attach(ctx, made.ID)
	if err != nil || !made.Adopted {
		return inside, err
	}
	// The container ran already: a start that was cut off left it. None of the sessions in it is known any more.
	open, err := inside.Sessions(ctx)
	for id, uid := range open {
		err = errors.Join(err, inside.CloseSession(ctx, id, uid))
	}
	if err != nil {
		inside.Close()
		return nil, err
	}
	return inside, nil
}

// Refresh fetches the repository of a ready container, for a session that is about to be attached, if the mirror is older
// than Config.MirrorMaxAge or does not have the session's branch. prove is agent.Fetch.Prove.
func (m *Manager) Refresh(ctx context.Context, s *store.Session, inside Inside, cred Credential, prove bool) (agent.Mirror, error) {
	age := m.cfg.MirrorMaxAge
	if age < 0 {
		age = anyAge
	}
	return m.fetchFor(ctx, s, inside, cred, agent.Fetch{Branch: s.Branch, MaxAge: age, Prove: prove})
}

// Prove proves that a credential reads the repository of a ready container, if the mirror is private. It fetches nothing.
func (m *Manager) Prove(ctx context.Context, s *store.Session, inside Inside, cred Credential) (agent.Mirror, error) {
	return m.fetchFor(ctx, s, inside, cred, agent.Fetch{MaxAge: anyAge, Prove: true})
}

// anyAge is the MaxAge of a fetch for which any mirror is new enough.
const anyAge = 1<<63 - 1

func (m *Manager) fetchFor(ctx context.Context, s *store.Session, inside Inside, cred Credential, f agent.Fetch) (agent.Mirror, error) {
	ctx, cancel := context.WithTimeout(ctx, m.cfg.FetchTimeout)
	defer cancel()
	f.URL, f.Env = s.Remote, m.cfg.Env
	c := store.Container{ID: s.Container, Name: s.ContainerName, SharingKey: s.SharingKey, Instance: s.Instance}
	mirror, err := m.fetchWith(ctx, &c, inside, cred, f)
	if mirror.Fetched {
		m.fillCaches(c, inside, f.URL)
	}
	return mirror, err
}

func (m *Manager) fetch(ctx context.Context, c *store.Container, inside Inside, f agent.Fetch) (agent.Mirror, error) {
	f.KnownHosts = m.cfg.KnownHosts
	mirror, err := inside.Fetch(ctx, f, func(p agent.Progress) {
		message := p.Phase
		if p.Percent >= 0 {
			message = fmt.Sprintf("%s: %d %%", p.Phase, p.Percent)
		}
		m.cfg.OnProgress(*c, message)
	})
	if mirror.Fetched {
		m.fetches.Add(1)
	}
	return mirror, err
}

// storeReady stores that the container is ready, and that its instance has the mirror.
func (k *keeper) storeReady(ctx context.Context, c *store.Container, mirror agent.Mirror) error {
	keys := []store.Key{c.Key(), store.SharingKey(c.Name), store.MirrorsKey(c.Instance)}
	err := k.m.retry.Update(ctx, keys, func(tx store.Tx) error {
		now, err := store.Find[*store.Container](tx, c.Key())
		switch {
		case err != nil:
			return err
		case now == nil || now.Owner != k.m.cfg.Replica:
			return errStopping
		case now.State == store.ContainerReady:
			return nil // an earlier try was committed
		case now.State != store.ContainerStarting:
			return errStopping
		}
		now.State, now.Since, now.EngineID, now.Cold = store.ContainerReady, time.Now(), c.EngineID, mirror.Cold
		now.Isolation, now.Image, now.Settings, now.Phases = c.Isolation, c.Image, c.Settings, c.Phases
		c.Cold = mirror.Cold
		if err := tx.Put(now); err != nil {
			return err
		}
		return noteMirror(tx, c.Instance, c.Name, mirror.Size, now.Since)
	})
	if err == nil {
		k.m.tasks.spawn(func() { k.evict(c.Instance) })
	}
	return err
}

// evict removes mirrors from an instance if the one that was fetched leaves no room for them. It logs a failure.
func (k *keeper) evict(instance string) {
	ctx, cancel := context.WithTimeout(k.m.ctx, k.m.cfg.StartTimeout)
	defer cancel()
	err := k.m.mirrors.evict(ctx, instance)
	if err != nil && !errors.Is(err, errInstanceGone) {
		k.m.failures.Report("cannot evict mirrors", err, "instance", instance)
	}
}
