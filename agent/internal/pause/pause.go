// Package pause holds the wait of the agent and its client.
package pause

import (
	"context"
	"time"
)

// Sleep returns nil after d. If ctx ends first, it returns the cause.
func Sleep(ctx context.Context, d time.Duration) error {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
