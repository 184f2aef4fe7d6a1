package session

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// cleaner removes sessions from their containers.
type cleaner struct {
	store      store.Store
	containers *orchestrator.Manager
	failures   *loop.Failures
}

// cleanTimeout bounds one try to remove a session from its container. To kill is quick; to remove a large checkout is not.
const cleanTimeout = 2 * time.Minute

const cannotClean = "cannot end a session in its container; trying again"

// clean removes what the session has inside its container. It tries until that is done, or the container is gone.
// wasActive: the session was active when it was marked.
func (c *cleaner) clean(ctx context.Context, s *store.Session, wasActive bool) error {
	if s.Container == "" || wasActive && c.cleanAttached(ctx, s) {
		return nil
	}
	pauses := loop.Pauses{First: 100 * time.Millisecond, Longest: 10 * time.Second}
	done := false
	err := loop.Retry(ctx, pauses, func() bool {
		var err error
		if done, err = c.cleanOnce(ctx, s); done || ctx.Err() != nil {
			return true
		}
		c.failures.Report(cannotClean, err, about(s)...)
		return false
	})
	if err == nil && !done {
		err = context.Cause(ctx)
	}
	return err
}

// cleanAttached is cleanOnce for a container to which this process is attached. It relies on the record that the caller has,
// and does not read from the store where the session is and whether its container is there.
func (c *cleaner) cleanAttached(ctx context.Context, s *store.Session) (done bool) {
	switch s.End.Reason {
	case store.EndTerminated, store.EndExpired, store.EndRevoked, store.EndOverLimit, store.EndInterrupted, store.EndLifetime:
	default:
		return false
	}
	inside := c.containers.Attached(s.Container)
	if inside == nil {
		return false
	}
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	err := inside.CloseSession(ctx, s.ID, s.UID)
	if err != nil && !errors.Is(err, agent.ErrGone) {
		c.failures.Report(cannotClean, err, about(s)...)
	}
	return err == nil
}

func (c *cleaner) cleanOnce(ctx context.Context, s *store.Session) (done bool, err error) {
	ctx, cancel := context.WithTimeout(ctx, cleanTimeout)
	defer cancel()
	var in *store.Instance
	var container *store.Container
	err = c.store.View(ctx, func(v store.View) (err error) {
		container, in, err = store.FindContainer(v, s.Container)
		return err
	})
	if err != nil {
		return false, err
	}
	if container == nil || container.State != store.ContainerReady || in == nil || in.State == store.InstanceLost {
		return true, nil // the session was never opened, or goes with its container
	}
	inside, err := c.containers.Inside(ctx, container.ID)
	if err == nil {
		err = inside.CloseSession(ctx, s.ID, s.UID)
	}
	return err == nil || errors.Is(err, agent.ErrGone), err
}

// closeStray closes a session that this process was creating when another one took it for dead, and ended the session: what
// was on its way to the container then may have arrived later. If closeStray fails, the orchestrator's sweep does it.
func (c *cleaner) closeStray(ctx context.Context, s *store.Session) {
	if s.Container == "" {
		return
	}
	if _, err := c.cleanOnce(ctx, s); err != nil {
		c.failures.Report("cannot close a session that another process ended", err, about(s)...)
	}
}
