package session

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// endGrace is how long the end of a session whose container is gone may take to be stored, and how long it may take to
// read that.
const endGrace = 5 * time.Second

// Inside connects to the container of an active session, and returns the session's record.
func (m *Manager) Inside(ctx context.Context, id string) (orchestrator.Inside, *store.Session, error) {
	r, err := m.read(ctx, id)
	if err != nil {
		return nil, nil, err
	}
	if r.State != store.SessionActive {
		return nil, nil, m.inactive(r)
	}
	inside, err := m.cfg.Containers.Inside(ctx, r.Container)
	if err != nil {
		return nil, nil, fmt.Errorf("session %s: %w", id, errs.Unavailable(ctx, err))
	}
	return inside, r, nil
}

// Explain returns why a call of a session failed with err: the session has ended, or the Provider was closed. Otherwise it
// returns err. In place of the agent's errors ErrGone and ErrUnknownSession it always returns an error of package berth.
// status is the session's. Explain reads from the store, and takes no more than a few seconds even if the store does not
// answer.
func (m *Manager) Explain(ctx context.Context, id string, status *Status, err error) error {
	if errors.Is(err, agent.ErrGone) { // its sessions are being ended now
		m.awaitEnd(ctx, status)
	}
	if closed := m.ExplainClosed(ctx, id, err); errors.Is(closed, errs.ErrClosed) {
		return closed
	}
	switch { // see EndSession
	case errors.Is(err, agent.ErrUnknownSession):
		return m.endNow(ctx, id, store.Failure{Reason: store.EndContainerLost, Message: "its container does not have it"}, errs.ErrContainerLost, err)
	case errors.Is(err, agent.ErrOverLimit):
		return m.endNow(ctx, id, overLimit(err), errs.ErrOverLimit, err)
	}
	// A process that a signal ended may have died with its session, whose end is stored before anything is killed.
	ctx, cancel := context.WithTimeout(ctx, endGrace)
	defer cancel()
	r, failed := store.Read[*store.Session](ctx, m.cfg.Store, store.SessionKey(id))
	gone := errors.Is(err, agent.ErrGone)
	switch {
	case failed == nil && isEnding(r):
		return fmt.Errorf("session %s: %w", id, m.endError(r))
	case failed == nil && r == nil && gone:
		return fmt.Errorf("session %s: %w", id, errs.ErrSessionNotFound)
	case gone: // its end is not stored yet, or the store was set back to a time before it
		return fmt.Errorf("session %s: %w", id, errs.ContainerLost(err))
	}
	return err
}

// isEnding reports whether a record says why its session ends.
func isEnding(r *store.Session) bool {
	return r != nil && r.State != store.SessionActive && r.End.Reason != ""
}

// awaitEnd waits for endGrace, or until the session's end is known or the Provider is closed.
func (m *Manager) awaitEnd(ctx context.Context, status *Status) {
	ctx, cancel := context.WithTimeout(ctx, endGrace)
	defer cancel()
	select {
	case <-status.Done():
	case <-m.cfg.Closing.Done():
	case <-ctx.Done():
	}
}

// ExplainClosed returns ErrClosed for a call that failed because the Provider was closed; else it returns err.
func (m *Manager) ExplainClosed(ctx context.Context, id string, err error) error {
	if m.cfg.Closing.Err() == nil {
		return err
	}
	if errors.Is(err, agent.ErrClosed) || errors.Is(err, context.Canceled) && ctx.Err() == nil {
		return fmt.Errorf("session %s: %w", id, errs.ErrClosed)
	}
	return err
}

// endNow ends a session that its container does not have any more, and returns why it ended. If that is not known in time, the
// error is otherwise, with the agent's error err.
func (m *Manager) endNow(ctx context.Context, id string, why store.Failure, otherwise, err error) error {
	ctx, cancel := context.WithTimeout(ctx, endGrace)
	defer cancel()
	e := m.End(ctx, id, why)
	select {
	case <-e.done:
	case <-ctx.Done():
	}
	r, failed := store.Read[*store.Session](ctx, m.cfg.Store, store.SessionKey(id))
	switch {
	case failed == nil && r == nil:
		return fmt.Errorf("session %s: %w", id, errs.ErrSessionNotFound)
	case failed == nil && isEnding(r):
		return fmt.Errorf("session %s: %w", id, m.endError(r))
	}
	return fmt.Errorf("session %s: %w: %v", id, otherwise, err) // %v: the agent's error is not the API's
}
