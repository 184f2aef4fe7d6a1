package agent

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

// Keep asks the agent to keep the work of a session beside the mirror, where it stays when the session and the container are gone.
type Keep struct {
	Session string
	Branch  string // the one that is checked out; "" = none
	// The bounds of all that the agent keeps: the oldest goes that is over them. Each must be above 0.
	Count int
	Bytes int64
	Age   time.Duration
}

// Kept describes kept work.
type Kept struct {
	Branch string
	Commit string // with which the session began; "" = the remote had none
	Bytes  int64  // as they are kept, compressed
}

// KeepWork keeps what PackWork packs, in place of what is kept of the same session. It is owned by root, and no session can read it. An
// error leaves nothing. errors.ErrUnsupported: the agent is too old for it.
func (c *Client) KeepWork(ctx context.Context, k Keep) (Kept, error) {
	return keeping(ctx, c, wire.Call{Op: wire.OpKeep, Keep: &wire.KeepWork{Session: k.Session, Branch: k.Branch, Count: k.Count, Bytes: k.Bytes, Age: k.Age}})
}

// BringWork describes the kept work of a session. Unless into is empty, it unpacks the work to that session, as UnpackWork does. The
// work stays. ErrNothingKept: there is none. errors.ErrUnsupported: the agent is too old for it.
func (c *Client) BringWork(ctx context.Context, kept, into string) (Kept, error) {
	return keeping(ctx, c, wire.Call{Op: wire.OpBring, Bring: &wire.BringWork{Kept: kept, Into: into}})
}

func keeping(ctx context.Context, c *Client, call wire.Call) (Kept, error) {
	line, err := c.call(ctx, call, nil)
	if e, ok := errors.AsType[*wire.Error](err); ok && e.Code == wire.CodeInvalid && e.Message == "unknown operation" {
		return Kept{}, fmt.Errorf("the agent is too old to keep work; a container that starts anew can: %w", errors.ErrUnsupported)
	}
	if err != nil {
		return Kept{}, err
	}
	if line.Kept == nil {
		return Kept{}, errIncomplete
	}
	return Kept(*line.Kept), nil
}
