package session

import (
	"context"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// A session with a MaxLifetime ends when it has been active for so long. No wall clock says so: the planner measures by its own monotonic
// clock, and stores the age each time that a tenth of the lifetime has passed. The next planner goes on from there, so a session lives
// at most a tenth longer for each change of the planner.

// ages are those of the sessions that have a MaxLifetime, as this planner measures them.
type ages struct {
	byID map[string]aging
}

type aging struct {
	from  time.Duration // its age when it was first seen
	seen  time.Time
	bound time.Duration // its MaxLifetime
}

// of returns the age of a session.
func (a *ages) of(s *store.Session, now time.Time) time.Duration {
	if a.byID == nil {
		a.byID = make(map[string]aging)
	}
	was, ok := a.byID[s.ID]
	if !ok {
		was = aging{s.Age, now, s.MaxLifetime}
		a.byID[s.ID] = was
	}
	return was.from + now.Sub(was.seen)
}

// over forgets and returns the sessions that have reached their MaxLifetime.
func (a *ages) over(now time.Time) (ids []string) {
	for id, was := range a.byID {
		if was.from+now.Sub(was.seen) >= was.bound {
			delete(a.byID, id)
			ids = append(ids, id)
		}
	}
	slices.Sort(ids)
	return ids
}

// keep forgets the sessions that are not active any more.
func (a *ages) keep(active map[string]bool) {
	for id := range a.byID {
		if !active[id] {
			delete(a.byID, id)
		}
	}
}

// outgrown ends the sessions that have reached their MaxLifetime. They are known since the last look at all sessions.
func (l *leader) outgrown(ctx context.Context) error {
	for _, id := range l.ages.over(time.Now()) {
		l.End(ctx, id, store.Failure{Reason: store.EndLifetime, Message: "it has reached its MaxLifetime"})
	}
	return nil
}

// grow stores the age of a session that has a MaxLifetime, now and then.
func (l *leader) grow(ctx context.Context, s *store.Session, now time.Time) {
	if s.MaxLifetime <= 0 {
		return
	}
	age := l.ages.of(s, now)
	if age >= s.MaxLifetime || age-s.Age < s.MaxLifetime/10 {
		return
	}
	err := l.fenced.Update(ctx, []store.Key{s.Key()}, func(tx store.Tx) error {
		r, err := store.Find[*store.Session](tx, s.Key())
		if err != nil || r == nil || r.State != store.SessionActive || r.Age >= age {
			return err
		}
		r.Age = age
		return tx.Put(r)
	})
	if err != nil && ctx.Err() == nil {
		l.cfg.Failures.Report("cannot store the age of a session", err, about(s)...)
	}
}
