package dockerengine

import (
	"context"
	"fmt"

	"github.com/containerd/errdefs"
	"github.com/moby/moby/client"

	"github.com/berth-go/berth/orchestrator"
)

// unreachable makes an error also an [orchestrator.ErrUnreachable].
type unreachable struct{ error }

func (e unreachable) Unwrap() error { return e.error }

// Is implements the interface that errors.Is uses.
func (e unreachable) Is(target error) bool { return target == orchestrator.ErrUnreachable }

// explainLost is explain for the error of a call that may have failed because the engine cannot be reached. It does not
// change other errors. An engine that is being stopped closes its files one after another. It still answers over its open
// connections, with internal errors that do not say so, but takes no new connections.
func (d *daemon) explainLost(ctx context.Context, err error) error {
	switch {
	case client.IsErrConnectionFailed(err):
		return explain(d.at.Address, err)
	case errdefs.IsInternal(err) && ctx.Err() == nil:
		l, linkErr := newLink(d.opts, d.at)
		if linkErr != nil {
			return err
		}
		conn, dialErr := l.dial(ctx)
		if dialErr != nil {
			return unreachable{fmt.Errorf("the Docker engine at %s is being stopped: %w", d.at.Address, err)}
		}
		conn.Close()
	}
	return err
}
