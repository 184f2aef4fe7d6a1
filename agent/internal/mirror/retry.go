package mirror

import (
	"context"
	"errors"
	"time"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/pause"
	"github.com/berth-go/berth/agent/internal/wire"
)

// retry calls try until it succeeds, fails for good or fails too often, so that one passing failure does not fail all waiting calls.
func (m *Mirror) retry(ctx context.Context, progress func(wire.Progress), try func() error) error {
	tell := func(next int, after time.Duration, err error) {
		m.Log.Warn("the remote failed; it is tried again", "try", next, "of", gitremote.MaxTries, "pause", after, "error", err)
		progress(wire.Progress{Phase: gitremote.Again(next, after), Percent: -1})
	}
	sleep := func(d time.Duration) error { return pause.Sleep(ctx, d) }
	goOn := func(err error) bool { return ctx.Err() == nil && passing(err) }
	tries, err := gitremote.Retry(try, goOn, tell, sleep)
	if failed := (*git.Error)(nil); tries > 1 && errors.As(err, &failed) {
		err = &git.Error{Op: failed.Op, Message: gitremote.Tried(failed.Message, tries)}
	}
	return err
}

func passing(err error) bool {
	failed := (*git.Error)(nil)
	return errors.As(err, &failed) && gitremote.Passing(failed.Message)
}
