package session

import (
	"context"
	"slices"

	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/store"
)

// reconciler follows what other replicas, and the store, do with the sessions of this process.
type reconciler struct{ *Manager }

// resumeLoop continues work that this process owns and that no goroutine of it does: a call of the store failed, another
// replica asked for the end of a session that is created here, or this process has taken over from a dead replica.
func (r *reconciler) resumeLoop(ctx context.Context) {
	loop.Every(ctx, resumeInterval, func() {
		acting, err := r.cfg.Member.Acting(ctx)
		if err != nil {
			return
		}
		if err := r.resumeOwned(acting); err != nil && acting.Err() == nil {
			r.cfg.Failures.Report("cannot look after this process's sessions", err)
		}
	})
}

func (r *reconciler) resumeOwned(ctx context.Context) error {
	owned := func(state store.SessionState) store.SessionQuery {
		return store.SessionQuery{Owner: r.cfg.Replica, States: []store.SessionState{state}}
	}
	for s, err := range store.Sessions(ctx, r.cfg.Store, owned(store.SessionTerminating)) {
		if err != nil {
			return err
		}
		r.End(ctx, s.ID, s.End)
	}
	for s, err := range store.Sessions(ctx, r.cfg.Store, owned(store.SessionCreating)) {
		if err != nil {
			return err
		}
		if !r.known.beingCreated(s.ID) {
			r.End(ctx, s.ID, store.Failure{Reason: store.EndAbandoned, Message: "its creation was cut off"})
		}
	}
	return nil
}

// watchLoop notices that another replica has ended sessions that this process knows. In each round it looks at the sessions
// whose end a caller waits for. In every twelfth round it looks at all, so that no Status stays behind.
func (r *reconciler) watchLoop(ctx context.Context) {
	round := 0
	loop.Every(ctx, watchInterval, func() {
		round++
		ids := r.known.created(round%12 == 0) // the record of one that is being created may not be there yet
		for some := range slices.Chunk(ids, watchAtOnce) {
			if err := r.notice(ctx, some); err != nil && ctx.Err() == nil {
				r.cfg.Failures.Report("cannot read the sessions", err)
				return
			}
		}
	})
}

// watchAtOnce bounds a View of watchLoop: a View of many sessions would take longer than a call of the store may.
const watchAtOnce = 500

// notice forgets those sessions that have ended.
func (r *reconciler) notice(ctx context.Context, ids []string) error {
	return r.cfg.Store.View(ctx, func(v store.View) error {
		for _, id := range ids {
			s, err := store.Find[*store.Session](v, store.SessionKey(id))
			switch {
			case err != nil:
				return err
			case s == nil:
				r.forget(id, errs.ErrSessionNotFound)
			case s.State == store.SessionEnded:
				r.Noticed(s)
			}
		}
		return nil
	})
}
