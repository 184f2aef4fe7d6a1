package orchestrator

import (
	"cmp"
	"context"
	"errors"
	"fmt"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/store"
)

// Promote makes what a session has installed the prepared layer of its commit, for all sessions that share with it: see Inside.Promote. That
// no session there begins with a layer is an errors.ErrUnsupported.
func (w *workspaces) Promote(ctx context.Context, c store.Container, inside Inside, session string) error {
	m := w.m
	bounded, cancel := context.WithTimeout(ctx, 2*cmp.Or(w.PrepareOf(c.SharingKey.Repository).Timeout, agent.DefaultPrepareTimeout)+spareTime)
	defer cancel()
	made, err := inside.Promote(bounded, agent.Promotion{Session: session, Env: m.cfg.Env}, func(step agent.Progress) { m.cfg.OnProgress(c, step.Phase) })
	switch {
	case err != nil:
		return err
	case made.Unshared != "":
		return fmt.Errorf("%w: sessions do not begin with prepared layers: %s", errors.ErrUnsupported, made.Unshared)
	}
	attrs := []any{"container", c.Name, "instance", c.Instance}
	w.prepared.Add(1)
	m.cfg.Logger.Info("what a session has installed is promoted", append(attrs, "session", session, "commit", made.Commit, "bytes", made.Bytes, "took", made.Took)...)
	m.cfg.OnPrepared(c, Prepared{Commit: made.Commit, Took: made.Took, Bytes: made.Bytes, Session: session})
	m.tasks.spawn(func() {
		ctx, cancel := context.WithTimeout(m.ctx, keepTime)
		defer cancel()
		grown(ctx, m, c, made.Size, attrs)
		w.keepLayer(ctx, c, inside, made, attrs)
	})
	return nil
}
