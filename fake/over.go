package fake

import (
	"context"
	"fmt"
	"slices"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent"
)

// FillDisk makes a session use more of the disk than it may, in the containers of a name on all hosts: their agents end the session.
// used is what the caller of the session is told, such as "disk: used 11.0 GiB of 10.0 GiB". FillDisk reports whether there
// was such a session.
func (e *Engine) FillDisk(name, session, used string) (found bool) {
	e.each(name, func(n *node, c *container) func() {
		s := c.sessions[session]
		if s == nil || s.over != "" {
			return func() {}
		}
		found = true
		killed := s.processes
		s.processes, s.files, s.since, s.over = nil, nil, time.Now(), used
		c.endings++
		c.ended = slices.DeleteFunc(c.ended, func(one agent.EndedSession) bool { return c.sessions[one.ID] == nil })
		c.ended = append(c.ended, agent.EndedSession{ID: session, Reason: used, Number: c.endings})
		if c.endedMore != nil {
			close(c.endedMore)
			c.endedMore = nil
		}
		return func() {
			for _, p := range killed {
				p.end(agent.Exit{Code: -1, Signal: int(syscall.SIGKILL), OverLimit: used}, nil)
			}
		}
	})
	return found
}

// usable returns the session of an ID. The caller holds the node's mu.
func (c *container) usable(id string) (*session, error) {
	s := c.sessions[id]
	switch {
	case s == nil:
		return nil, fmt.Errorf("%w: %s", agent.ErrUnknownSession, id)
	case s.over != "":
		return nil, fmt.Errorf("%w: %s", agent.ErrOverLimit, s.over)
	}
	return s, nil
}

// EndedSessions is no Call: it waits, and sees no fault but a host that cannot be reached.
func (i *inside) EndedSessions(ctx context.Context, seen int) ([]agent.EndedSession, error) {
	n, r := i.container.node, reply{cut: i.done}
	for {
		n.mu.Lock()
		err, ended := i.alive(), slices.Clone(i.container.ended)
		if i.container.endedMore == nil {
			i.container.endedMore = make(chan struct{})
		}
		more := i.container.endedMore
		n.mu.Unlock()
		switch {
		case err != nil:
			return nil, err
		case len(ended) > 0 && ended[len(ended)-1].Number > seen:
			first := slices.IndexFunc(ended, func(one agent.EndedSession) bool { return one.Number > seen })
			return ended[first:], i.explain(n.reachable(ctx, r, i.host.endpoint.Address))
		}
		select {
		case <-more:
		case <-i.done:
			return nil, i.err
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}
