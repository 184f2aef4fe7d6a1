package orchestrator

import (
	"context"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// Credential is what git gets when it asks for one during a fetch. It is kept in memory for as long as a container starts.
type Credential struct {
	Username, Password string
	// Source, unless nil, is asked for the two before each fetch.
	Source *Source
}

// Inside connects to the agent of a container, and returns when the container is ready. It starts the container if that
// is this process's task, and otherwise waits for the process that does. *StartFailure: the container could not be
// started. agent.ErrGone: the container is stopping or gone.
func (m *Manager) Inside(ctx context.Context, container string) (Inside, error) {
	k := m.keeper(ctx, container, Credential{})
	select {
	case <-k.ready: // even if ctx has ended
		return k.inside, k.err
	default:
	}
	select {
	case <-k.ready:
		return k.inside, k.err
	case <-ctx.Done():
		return nil, context.Cause(ctx)
	}
}

// Attached returns the connection to the agent of a container if this process has one, and nil otherwise. It makes no
// call.
func (m *Manager) Attached(container string) Inside {
	m.mu.Lock()
	k := m.keepers[container]
	m.mu.Unlock()
	if k == nil {
		return nil
	}
	select {
	case <-k.ready:
		return k.inside // nil if err is set
	default:
		return nil
	}
}

// Start begins to start a container that this process has created. The start goes on when the caller's context ends,
// because other sessions may wait for it.
func (m *Manager) Start(ctx context.Context, container string, cred Credential) Starting {
	k := m.keeper(ctx, container, cred)
	m.mu.Lock()
	defer m.mu.Unlock()
	return Starting{k, !k.fetched && k.cred == cred}
}

// Starting is the start of a container as one session sees it.
type Starting struct {
	k    *keeper
	same bool // the credential of the start is the session's
}

// Own reports whether this process has started the container, or has failed to, with the session's credential: a start that
// another session began uses that session's. Own is false before Inside has returned.
func (s Starting) Own() bool { return s.same && s.k.isReady() && s.k.started }

// Proven reports whether the start has read the remote with the session's credential.
func (s Starting) Proven() bool { return s.Own() && s.k.proven }

// GiveUp ends the start if this process makes it and it may still fetch with the session's credential. Sessions that wait for
// it get another container.
func (s Starting) GiveUp() {
	m := s.k.m
	m.mu.Lock()
	fetches := s.same && s.k.started && !s.k.fetched
	m.mu.Unlock()
	if fetches {
		s.k.stop()
	}
}

// Stop returns when a container is gone that is marked as stopping and that no session holds any more. This process
// removes it, or another replica does. The removal goes on in the background if ctx ends first.
func (m *Manager) Stop(ctx context.Context, container string) error {
	wake, release := m.cfg.Store.Notify(store.ContainerKey(container))
	defer release()
	waiting, cancel := within(ctx, m.ctx)
	defer cancel()
	for {
		c, err := store.Read[*store.Container](ctx, m.cfg.Store, store.ContainerKey(container))
		if err != nil || c == nil || c.State != store.ContainerStopping || c.Sessions > 0 {
			return err
		}
		changed := wake
		if c.Owner == m.cfg.Replica {
			// A keeper that was about to end when stop was called may have read an older version of the record. It then
			// ends without removing the container, and the next one removes it.
			k := m.keeper(ctx, container, Credential{})
			k.stop()
			changed = k.gone
		}
		err = loop.Wait(waiting, poll, changed)
		if m.ctx.Err() != nil {
			return agent.ErrClosed
		}
		if err != nil {
			return err
		}
	}
}

// keeper returns the keeper of a container, and makes it for the caller if there is none.
func (m *Manager) keeper(caller context.Context, container string, cred Credential) *keeper {
	m.mu.Lock()
	defer m.mu.Unlock()
	k := m.keepers[container]
	if k == nil {
		k = m.newKeeper(container, cred)
		k.caller = caller
		m.run(k)
	}
	return k
}

func (m *Manager) newKeeper(container string, cred Credential) *keeper {
	k := &keeper{m: m, id: container, cred: cred, ready: make(chan struct{}), gone: make(chan struct{})}
	k.ctx, k.stop = context.WithCancel(m.ctx)
	return k
}

// run starts a keeper. The caller holds mu.
func (m *Manager) run(k *keeper) {
	if m.tasks.spawn(k.run) {
		m.keepers[k.id] = k
		return
	}
	k.err = agent.ErrClosed
	k.stop()
	close(k.ready)
	close(k.gone)
}

func (m *Manager) drop(k *keeper) {
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.keepers, k.id)
	k.stop()
}

// records reads the record of a container and that of its instance. Either is nil if there is none.
func (m *Manager) records(ctx context.Context, id string) (c *store.Container, in *store.Instance, err error) {
	err = m.cfg.Store.View(ctx, func(v store.View) error {
		c, in, err = store.FindContainer(v, id)
		return err
	})
	return c, in, err
}
