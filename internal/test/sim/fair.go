package sim

import (
	"cmp"
	"slices"
	"time"

	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/store"
)

// known is how long it takes until the queue cache of every replica has a session that waits.
const known = 15 * time.Second

// fair checks the order in which waiting sessions are served.
type fair struct {
	rules *rules
	since map[string]time.Time // when each queued session was first seen waiting
	turns []turnsAt            // those of the looks within the last moment
	seen  map[string]bool      // sessions of earlier looks
}

// turnsAt has the turns of the queued sessions, by session ID.
type turnsAt struct {
	at time.Time
	of map[string]int
}

// moment is how old a replica's view of the queue may be: serving the whole queue may take that long.
const moment = 100 * time.Millisecond

func newFair(r *rules) *fair {
	return &fair{rules: r, since: make(map[string]time.Time), seen: make(map[string]bool)}
}

// look compares the store with what it was at the last look.
func (f *fair) look(s *audit.Snapshot) {
	now := time.Now()
	var waiting, served []*store.Session
	for _, x := range s.Sessions {
		switch {
		case x.State == store.SessionCreating && x.Queued:
			waiting = append(waiting, x)
		case x.Container == "" || x.State == store.SessionEnded:
		case !f.since[x.ID].IsZero():
			served = append(served, x)
		case !f.seen[x.ID] && f.waited(s):
			f.rules.broken("session %s of %s was placed before those who wait", x.ID, x.TaskID)
		}
		f.seen[x.ID] = true
	}
	if p := f.rules.world.plan; !p.stale() && !p.armed[unruly] { // a session waits while its user's limits are not known
		for _, x := range served {
			f.served(x, waiting, now)
		}
	}
	since := make(map[string]time.Time)
	for _, x := range waiting {
		if since[x.ID] = f.since[x.ID]; since[x.ID].IsZero() {
			since[x.ID] = now
		}
	}
	f.since = since
	f.turns = append(f.turns, turnsAt{now, turns(s, waiting)})
	for len(f.turns) > 1 && now.Sub(f.turns[1].at) > moment {
		f.turns = f.turns[1:]
	}
}

// waited reports whether a session has waited all the time since the last look.
func (f *fair) waited(s *audit.Snapshot) bool {
	return slices.ContainsFunc(s.Sessions, func(x *store.Session) bool {
		return x.State == store.SessionCreating && x.Queued && !f.since[x.ID].IsZero()
	})
}

// served checks a session that has just got its slot: no session with an earlier turn still waits for the same
// repository.
func (f *fair) served(x *store.Session, waiting []*store.Session, now time.Time) {
	for _, other := range waiting {
		since := f.since[other.ID]
		if other.ContainerName != x.ContainerName || since.IsZero() || now.Sub(since) < known {
			continue
		}
		wrong := true // at each look of the last moment, because the replica's view of the queue may be that old
		most := f.rules.world.plan.config.UserLimits.Sessions
		for _, then := range f.turns {
			wrong = wrong && (most == 0 || then.of[other.ID] < most) // else the limit of its user has held it back
			late := then.of[x.ID] - then.of[other.ID]
			wrong = wrong && (late > 2 || late > 0 && other.UserID == x.UserID)
		}
		if wrong {
			last := f.turns[len(f.turns)-1].of
			f.rules.broken("session %s of %s and %s was served at turn %d, and %s of %s and %s at turn %d waits since %v",
				x.ID, x.TaskID, x.UserID, last[x.ID], other.ID, other.TaskID, other.UserID, last[other.ID], now.Sub(since))
		}
	}
}

// turns returns the turn of each queued session: the number of slots that its user holds, plus the number of that
// user's sessions that came before it.
func turns(s *audit.Snapshot, waiting []*store.Session) map[string]int {
	ahead := make(map[string]int)
	for _, x := range s.Sessions {
		if !x.Queued && x.State != store.SessionEnded {
			ahead[x.UserID]++
		}
	}
	slices.SortFunc(waiting, func(a, b *store.Session) int {
		return cmp.Or(cmp.Compare(a.Arrived, b.Arrived), a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	turns := make(map[string]int)
	for _, x := range waiting {
		turns[x.ID] = ahead[x.UserID]
		ahead[x.UserID]++
	}
	return turns
}
