package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// users is how many users the tasks have.
const users = 4

func userName(i int) string { return fmt.Sprintf("user-%d", i) }

// unlimited is a user without limits.
const unlimited = "u"

// drawUsers decides what users may have, and whether they lose it.
func (p *plan) drawUsers() {
	d := p.dice
	if d.chance(0.3, "limited") {
		l := &p.config.UserLimits
		for _, limit := range []struct {
			name  string
			field *int
			most  int
		}{{"sessions", &l.Sessions, 5}, {"queue", &l.Queued, 5}, {"starts", &l.StartsPerMinute, 10}} {
			if d.chance(0.6, "limit", limit.name) {
				*limit.field = d.between(1, limit.most, "limit of", limit.name)
			}
		}
	}
	p.config.UserLimitsFor = func(user string) (l berth.UserLimits) {
		if user == unlimited {
			l = berth.UserLimits{Sessions: -1, Queued: -1, StartsPerMinute: -1}
		}
		return l
	}
	p.revokes = d.chance(0.3, "revocations")
}

// quotas checks that no user has more than its limits allow.
type quotas struct {
	rules  *rules
	placed map[string]bool        // the sessions that have had a place
	seen   map[string]time.Time   // when each session was first seen
	starts map[string][]time.Time // by user, when sessions were first seen
}

func newQuotas(r *rules) *quotas {
	return &quotas{r, make(map[string]bool), make(map[string]time.Time), make(map[string][]time.Time)}
}

// look checks one state of the store.
func (q *quotas) look(s *audit.Snapshot) {
	p, l := q.rules.world.plan, q.rules.world.plan.config.UserLimits
	held, waiting := make(map[string]int), make(map[string]int)
	for _, x := range s.Sessions {
		if x.UserID == unlimited {
			continue
		}
		if q.seen[x.ID].IsZero() {
			q.seen[x.ID] = time.Now()
			q.started(x.UserID, p, l.StartsPerMinute)
		}
		if x.End.Reason == store.EndRevoked && !q.rules.world.wasRevoked(x, q.seen[x.ID]) {
			q.rules.broken("session %s of %s and %s was ended by a revocation that does not concern it", x.ID, x.TaskID, x.UserID)
		}
		switch {
		case x.State == store.SessionEnded:
		case !x.Queued:
			held[x.UserID]++
			q.placed[x.ID] = true
		case !q.placed[x.ID]: // a session that has lost its place waits even beyond its user's limit
			waiting[x.UserID]++
		}
	}
	for user, n := range held {
		if l.Sessions > 0 && n > l.Sessions {
			q.rules.broken("%s has %d sessions, and may have %d", user, n, l.Sessions)
		}
	}
	for user, n := range waiting {
		if l.Queued > 0 && n > l.Queued {
			q.rules.broken("%s waits with %d sessions, and may with %d", user, n, l.Queued)
		}
	}
}

// delay is how long the store may take to say that it has stored a session, if nothing is armed that makes it slow.
const delay = 15 * time.Second

// started checks how many sessions of a user have begun within a minute.
func (q *quotas) started(user string, p plan, most int) {
	all := append(q.starts[user], time.Now())
	q.starts[user] = all
	if most == 0 || len(all) <= most || p.stale() || p.pauses() || p.armed[clocks] {
		return
	}
	if first := all[len(all)-most-1]; time.Since(first) < time.Minute-delay {
		q.rules.broken("%s has begun %d sessions within %v, and may begin %d in a minute", user, most+1, time.Since(first), most)
	}
}

// refused checks the error of a session that was refused.
func (q *quotas) refused(t *task, e *berth.QuotaError) {
	q.rules.world.trace.saw("refused: " + e.Limit)
	l := q.rules.world.plan.config.UserLimits
	most := map[string]int{"Sessions": l.Sessions, "Queued": l.Queued, "StartsPerMinute": l.StartsPerMinute}[e.Limit]
	if e.Max != most || most == 0 || e.Now < most || e.UserID != t.request().UserID || e.RetryAfter > 2*time.Minute {
		q.rules.broken("%s was refused with %+v", t.name, *e)
	}
}

// revokeNowAndThen takes from users what they have on a repository, while tasks come.
func (w *world) revokeNowAndThen() {
	for round := 0; time.Since(epoch) < w.plan.arrivals; round++ {
		at := fmt.Sprint("revocation ", round)
		time.Sleep(w.plan.dice.upTo(40*time.Second, at))
		w.revoke(at)
	}
}

// revocation is one that a host asks for.
type revocation struct {
	user string
	of   naming.Repository // zero = all
	done time.Time         // zero = not yet
	// forGood says that the host had taken the right away first
	forGood bool
}

func (r *revocation) concerns(x *store.Session) bool {
	return x.UserID == r.user && (r.of.IsZero() || x.SharingKey.Repository == r.of)
}

// wasRevoked reports whether a session that was first seen at a time may have been ended by a revocation.
func (w *world) wasRevoked(x *store.Session, seen time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return slices.ContainsFunc(w.revoked, func(r *revocation) bool {
		return r.concerns(x) && (r.done.IsZero() || !seen.After(r.done))
	})
}

// revoke asks one replica after another until one reports success.
func (w *world) revoke(at string) {
	d := w.plan.dice
	r := &revocation{user: userName(d.zipf(users, at, "user"))}
	spelled := ""
	if repo := d.zipf(w.plan.repos, at, "repo"); d.chance(0.8, at, "one") {
		spelled = w.plan.spelling(repo, at, "spelling")
		r.of = naming.Repository{Host: "github.com", Path: fmt.Sprintf("acme/repo-%d", repo)}
	}
	r.forGood = w.plan.authorizes && d.chance(0.5, at, "for good")
	w.mu.Lock()
	w.revoked = append(w.revoked, r)
	w.mu.Unlock()
	for try := range 50 {
		has := w.unended(r)
		at := w.some(at, fmt.Sprint(try))
		ctx, cancel := context.WithTimeout(w.ctx, 10*time.Minute)
		err := at.Revoke(ctx, r.user, spelled)
		cancel()
		w.trace.add("revocation of %s on %q at %s: %v", r.user, spelled, at.name, err)
		if err == nil {
			w.mu.Lock()
			r.done = time.Now()
			w.mu.Unlock()
			w.rules.revoked(r.user, has)
			return
		}
		time.Sleep(time.Second)
	}
	w.rules.broken("nothing can be revoked of %s", r.user)
}

// unended returns the sessions that a revocation concerns and that have not ended.
func (w *world) unended(r *revocation) (ids []string) {
	for _, x := range w.snapshot().Sessions {
		if r.concerns(x) && x.State != store.SessionEnded {
			ids = append(ids, x.ID)
		}
	}
	return ids
}

// revoked checks that the sessions have ended that a user had when Revoke was called.
func (r *rules) revoked(user string, had []string) {
	then := make(map[string]bool)
	for _, id := range had {
		then[id] = true
	}
	for _, x := range r.world.snapshot().Sessions {
		if then[x.ID] && x.State != store.SessionEnded {
			r.broken("session %s of %s and %s is %s after its user's access was revoked", x.ID, x.TaskID, user, x.State)
		}
		if then[x.ID] && x.End.Reason == store.EndRevoked {
			r.world.trace.saw("revoked")
		}
	}
}
