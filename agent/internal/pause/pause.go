// Package pause holds the waits of the agent and its client.
package pause

import (
	"context"
	"errors"
	"net"
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

// Accept accepts a connection. While the process or the machine has too many open files, it waits, and calls tell with the error.
// A session may use up the machine's, for a while.
func Accept(l net.Listener, tell func(error)) (net.Conn, error) {
	for wait := time.Duration(0); ; {
		conn, err := l.Accept()
		var passing interface{ Temporary() bool }
		if !errors.As(err, &passing) || !passing.Temporary() {
			return conn, err
		}
		tell(err)
		wait = min(max(2*wait, 5*time.Millisecond), time.Second)
		time.Sleep(wait)
	}
}
