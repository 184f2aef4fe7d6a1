package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/store"
)

// The expected result of a query, computed in the simplest way: look at every record, sort, cut.

func expectInstances(all []*store.Instance, q store.InstanceQuery) []*store.Instance {
	free := func(r *store.Instance) int { return r.Slots - r.Sessions }
	order := func(*store.Instance) int { return 0 }
	if q.Placeable {
		order, q.After = free, ""
	}
	return page(all, q.Page, order, func(r *store.Instance) bool {
		return oneOf(q.States, r.State) && (!q.Placeable || r.State == store.InstanceReady && free(r) > 0)
	})
}

func expectContainers(all []*store.Container, q store.ContainerQuery) []*store.Container {
	return page(all, q.Page, func(*store.Container) int { return 0 }, func(r *store.Container) bool {
		return wanted(q.Instance, r.Instance) && wanted(q.Owner, r.Owner) && oneOf(q.States, r.State)
	})
}

func expectUsage(all []*store.Usage, q store.UsageQuery) []*store.Usage {
	return page(all, q.Page, func(*store.Usage) int { return 0 }, func(r *store.Usage) bool {
		from := q.From.UTC().Truncate(time.Hour)
		return (q.From.IsZero() || !r.Hour().Before(from)) && (q.To.IsZero() || r.Hour().Before(q.To))
	})
}

func expectSessions(all []*store.Session, q store.SessionQuery) []*store.Session {
	order := func(*store.Session) int { return 0 }
	switch {
	case !q.LeaseBefore.IsZero():
		order = func(r *store.Session) int { return micros(r.LeaseUntil) }
	case !q.EndedBefore.IsZero():
		order = func(r *store.Session) int { return micros(r.EndedAt) }
	}
	if !q.LeaseBefore.IsZero() || !q.EndedBefore.IsZero() {
		q.After = ""
	}
	return page(all, q.Page, order, func(r *store.Session) bool {
		ok := oneOf(q.States, r.State) && wanted(q.TaskID, r.TaskID) && wanted(q.UserID, r.UserID) &&
			wanted(q.Container, r.Container) && wanted(q.Instance, r.Instance) && wanted(q.Owner, r.Owner) &&
			(q.Repository.IsZero() || r.SharingKey.Repository == q.Repository) && (!q.Queued || r.Queued) &&
			(q.LeaseBefore.IsZero() || r.State == store.SessionActive && past(r.LeaseUntil, q.LeaseBefore)) &&
			(q.EndedBefore.IsZero() || r.State == store.SessionEnded && past(r.EndedAt, q.EndedBefore))
		for k, v := range q.Labels {
			have, there := r.Labels[k]
			ok = ok && there && have == v
		}
		return ok
	})
}

func page[R store.Record](all []R, p store.Page, order func(R) int, matches func(R) bool) []R {
	found := []R{}
	for _, r := range all {
		if matches(r) && (p.After == "" || r.Key().ID > p.After) {
			found = append(found, r)
		}
	}
	slices.SortFunc(found, func(a, b R) int {
		return cmp.Or(cmp.Compare(order(a), order(b)), strings.Compare(a.Key().ID, b.Key().ID))
	})
	size := store.DefaultLimit
	if p.Limit > 0 {
		size = min(p.Limit, store.MaxLimit)
	}
	return found[:min(size, len(found))]
}

func wanted(want, have string) bool { return want == "" || have == want }

func oneOf[S comparable](want []S, have S) bool { return len(want) == 0 || slices.Contains(want, have) }

func micros(t time.Time) int { return int(t.UnixMicro()) }

// past reports whether t is set and before limit.
func past(t, limit time.Time) bool { return !t.IsZero() && micros(t) < micros(limit) }

// sameSessions returns an error unless a query finds the expected sessions of all.
func sameSessions(v store.View, all []*store.Session, q store.SessionQuery) error {
	got, err := v.Sessions(q)
	return sameResult(q, err, got, expectSessions(all, q))
}

// sameList returns an error unless got is want, record by record, in that order.
func sameList[R store.Record](what string, got, want []R) error {
	ids := func(rs []R) string {
		var b strings.Builder
		for _, r := range rs {
			fmt.Fprintf(&b, " %q", r.Key().ID)
		}
		return b.String()
	}
	if g, w := ids(got), ids(want); g != w {
		return fmt.Errorf("%s: got %d, want %d:\n got %s\n want%s", what, len(got), len(want), g, w)
	}
	for i := range got {
		if err := same(what, got[i], want[i]); err != nil {
			return err
		}
	}
	return nil
}

// agrees fails the test unless the store holds exactly these sessions, and every query that could find one of them
// finds it. It detects errors of indexes.
func (h *handle) agrees(sessions ...*store.Session) {
	h.t.Helper()
	asked := map[string]bool{}
	h.view(func(v store.View) error {
		for _, q := range sessionQueries(sessions) {
			what := fmt.Sprintf("%+v", q)
			if asked[what] {
				continue
			}
			asked[what] = true
			q.Limit = store.MaxLimit
			if err := sameSessions(v, sessions, q); err != nil {
				return err
			}
		}
		return nil
	})
}

// sessionQueries returns a query for each value that could find a session, and for values that no session has.
func sessionQueries(sessions []*store.Session) []store.SessionQuery {
	qs := []store.SessionQuery{
		{}, {Queued: true}, {TaskID: "none"}, {UserID: "none"}, {Container: "none"}, {Instance: "none"}, {Owner: "none"},
		{Labels: map[string]string{"none": ""}},
	}
	for _, s := range sessionStates {
		qs = append(qs, store.SessionQuery{States: []store.SessionState{s}})
	}
	for i, s := range sessions {
		if i == 12 { // enough: the answer to each query is compared for all sessions anyway
			break
		}
		qs = append(qs,
			store.SessionQuery{TaskID: s.TaskID}, store.SessionQuery{UserID: s.UserID},
			store.SessionQuery{Repository: s.SharingKey.Repository}, store.SessionQuery{Labels: s.Labels},
			store.SessionQuery{Container: s.Container}, store.SessionQuery{Instance: s.Instance},
			store.SessionQuery{Owner: s.Owner}, store.SessionQuery{Owner: s.Owner, States: []store.SessionState{s.State}},
			store.SessionQuery{LeaseBefore: s.LeaseUntil}, store.SessionQuery{LeaseBefore: s.LeaseUntil.Add(time.Microsecond)},
			store.SessionQuery{EndedBefore: s.EndedAt}, store.SessionQuery{EndedBefore: s.EndedAt.Add(time.Microsecond)},
		)
	}
	return qs
}

var (
	instanceStates = []store.InstanceState{
		store.InstanceLaunching, store.InstanceBooting, store.InstanceReady, store.InstanceCordoned,
		store.InstanceTerminating, store.InstanceLost,
	}
	containerStates = []store.ContainerState{
		store.ContainerStarting, store.ContainerReady, store.ContainerStopping,
	}
	sessionStates = []store.SessionState{
		store.SessionCreating, store.SessionActive, store.SessionTerminating, store.SessionEnded,
	}
)
