package session

import (
	"cmp"
	"errors"
	"fmt"
	"strings"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

var _ orchestrator.Sessions = (*Manager)(nil)

// EndSession implements orchestrator.Sessions. A container may lack an active session after the store was set back to a
// backup: the session has ended since that was made.
func (m *Manager) EndSession(c store.Container, id string, cause error) {
	if cause != nil {
		m.End(m.ctx, id, overLimit(cause))
		return
	}
	m.End(m.ctx, id, store.Failure{Reason: store.EndContainerLost, Message: fmt.Sprintf("container %s does not have it", c.Name)})
}

// overLimit is the end of a session for an agent.ErrOverLimit.
func overLimit(cause error) store.Failure {
	_, used, _ := strings.Cut(cause.Error(), agent.ErrOverLimit.Error()+": ")
	return store.Failure{Reason: store.EndOverLimit, Message: orchestrator.Clean(cmp.Or(used, cause.Error()))}
}

// EndSessions implements orchestrator.Sessions.
func (m *Manager) EndSessions(c store.Container, cause error) {
	why := store.Failure{Reason: store.EndContainerLost, Message: fmt.Sprintf("container %s was removed", c.Name)}
	if cause != nil {
		why.Message = orchestrator.Clean(fmt.Sprintf("container %s: %v", c.Name, cause))
	}
	if errors.Is(cause, agent.ErrOutOfMemory) {
		why.Cause = errs.CauseOutOfMemory
	}
	m.EndAll(store.SessionQuery{Container: c.ID}, why)
}
