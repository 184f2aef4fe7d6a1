package session

import (
	"context"
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
	from time.Duration // its age when it was first seen
	seen time.Time
}

// of returns the age of a session.
func (a *ages) of(s *store.Session, now time.Time) time.Duration {
	if a.byID == nil {
		a.byID = make(map[string]aging)
	}
	was, ok := a.byID[s.ID]
	if !ok {
		was = aging{s.Age, now}
		a.byID[s.ID] = was
	}
	return was.from + now.Sub(was.seen)
}

// keep forgets the sessions that are not active any more.
func (a *ages) keep(active map[string]bool) {
	for id := range a.byID {
		if !active[id] {
			delete(a.byID, id)
		}
	}
}

// grow ends a session that has reached its MaxLifetime, and stores the age of one that has not, now and then.
func (l *leader) grow(ctx context.Context, s *store.Session, now time.Time) {
	if s.MaxLifetime <= 0 {
		return
	}
	age := l.ages.of(s, now)
	switch {
	case age >= s.MaxLifetime:
		l.End(ctx, s.ID, store.Failure{Reason: store.EndLifetime, Message: "it has reached its MaxLifetime"})
	case age-s.Age >= s.MaxLifetime/10:
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
}
