package sim

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/store"
)

// lasts has the sessions for which the host's OnEnd has returned in a process that has not crashed, or has used up its time.
type lasts struct {
	mu   sync.Mutex // protects done
	done map[string]bool

	since map[string]time.Time // when a session was first seen active; used by check only
}

func (l *lasts) has(id string) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.done[id]
}

// onEnd is a Config.OnEnd. It runs a command in the session.
func (h host) onEnd(ctx context.Context, s *berth.Session, why berth.EndReason) error {
	h.trace.saw("OnEnd")
	info := s.Info()
	h.mustEnd(info, why)
	defer func() {
		if cause := context.Cause(ctx); cause != nil && !errors.Is(cause, context.DeadlineExceeded) {
			h.trace.saw("OnEnd was cut off")
		} else if !h.meddler.isDead(h.replica) { // one that is being closed may finish what is under way
			h.rules.lasts.mu.Lock()
			h.rules.lasts.done[info.ID] = true
			h.rules.lasts.mu.Unlock()
		}
	}()
	pause(ctx, h.plan.dice.upTo(5*time.Second, "on end", h.replica, info.TaskID))
	switch h.fails("on end", info.TaskID) {
	case panics:
		panic(errDisorder)
	case blocks:
		<-ctx.Done()
		return ctx.Err()
	case errs:
		return errDisorder
	}
	return s.Command(ctx, "work", "100ms").Run()
}

// mustEnd checks that the session is being ended, for a reason that leaves time, and that its checkout is still there.
func (h host) mustEnd(info berth.SessionInfo, why berth.EndReason) {
	var r *store.Session
	err := h.store.View(context.Background(), func(v store.View) (err error) {
		r, err = store.Find[*store.Session](v, store.SessionKey(info.ID))
		return err
	})
	if err != nil || !h.alive(h.replica) || r == nil {
		return // what a dead process does is of no effect
	}
	if r.State == store.SessionActive || r.State == store.SessionCreating || r.Took == 0 {
		h.rules.broken("OnEnd of session %s, which is %s", info.ID, r.State)
	}
	if r.State == store.SessionTerminating && !slices.Contains(timely, r.End.Reason) || string(why) != string(r.End.Reason) {
		h.rules.broken("OnEnd of session %s, which ends as %s, says %s", info.ID, r.End.Reason, why)
	}
}

// timely are the ends before which OnEnd is called.
var timely = []store.EndReason{store.EndTerminated, store.EndExpired, store.EndLifetime, store.EndInterrupted}

// parted checks that no session has ended before its OnEnd was over.
func (r *rules) parted(s *audit.Snapshot) {
	if !r.world.plan.onEnd {
		return
	}
	for _, x := range s.Sessions {
		if x.State == store.SessionEnded && x.Took > 0 && slices.Contains(timely, x.End.Reason) && !r.lasts.has(x.ID) {
			r.broken("session %s of %s has ended (%s) without its OnEnd: %s", x.ID, x.TaskID, x.End.Reason, fmt.Sprint(x.Unsaved))
		}
	}
}

// lived checks that no session ends before its MaxLifetime because of that. It is called at each commit.
func (r *rules) lived(s *audit.Snapshot) {
	for _, x := range s.Sessions {
		if _, seen := r.lasts.since[x.ID]; !seen && x.State == store.SessionActive {
			r.lasts.since[x.ID] = time.Now()
		}
		since, seen := r.lasts.since[x.ID]
		if x.End.Reason != store.EndLifetime || x.State != store.SessionTerminating {
			continue
		}
		r.world.trace.saw("a session reached its MaxLifetime")
		if age := time.Since(since); !seen || age < x.MaxLifetime {
			r.broken("session %s of %s has lived for %v, and may for %v", x.ID, x.TaskID, age, x.MaxLifetime)
		}
	}
}

// alive reports whether a replica of that name has neither crashed nor been closed.
func (w *world) alive(name string) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.replicas, func(r *replica) bool { return r != nil && r.name == name })
}
