package storetest

import (
	"cmp"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

var queryCases = []testCase{
	{"a query returns the records to which all its fields apply", queriesSelect},
	{"paging with After sees every record once, in the order of the IDs", pagesAreWhole},
	{"a page has the size that was asked for, up to the limit", pageSizes},
	{"IDs are ordered byte by byte", idsAreBytes},
	{"a query finds a record by what it is now, not by what it was", indexesFollow},
	{"the rows of the bill come hour by hour", usageComesByHour},
	{"an Update that failed leaves nothing for queries to find", failedLeavesNoEntry},
}

// epoch is when the times of these tests begin.
var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func minute(i int) time.Time { return epoch.Add(time.Duration(i) * time.Minute) }

// crowd returns n sessions in which most have each value in common, and some do not. Their IDs are in no order.
func crowd(n int) []*store.Session {
	most := func(i, every int, value, other string) string {
		if i%every == every-1 {
			return other
		}
		return value
	}
	sessions := make([]*store.Session, n)
	for i := range sessions {
		s := &store.Session{
			ID:        fmt.Sprintf("s-%04d", i*7919%10000),
			TaskID:    most(i, 30, "task", "other-task"),
			UserID:    most(i, 31, "ada", "bob"),
			Owner:     most(i, 32, "replica-1", "replica-2"),
			Container: most(i, 33, "container", ""),
			Instance:  most(i, 34, "instance", "other-instance"),
			Labels:    map[string]string{"team": most(i, 35, "blue", "red"), "n": fmt.Sprint(i % 3)},
			State:     store.SessionActive,
			Queued:    i%36 > 0,
			CreatedAt: minute(i * 31 % 500), LeaseUntil: minute(i * 37 % 600), EndedAt: minute(i * 41 % 700),
		}
		s.SharingKey.Repository = naming.Repository{Host: "git.example.com", Path: most(i, 37, "team/app", "team/lib")}
		if i%4 == 3 {
			s.State = sessionStates[i/4%4]
		}
		sessions[i] = s
	}
	return sessions
}

// crowdQueries are queries that select many of a crowd.
func crowdQueries() []store.SessionQuery {
	return []store.SessionQuery{
		{}, {TaskID: "task"}, {UserID: "ada"}, {Owner: "replica-1"}, {Container: "container"}, {Instance: "instance"},
		{Repository: naming.Repository{Host: "git.example.com", Path: "team/app"}},
		{Labels: map[string]string{"team": "blue"}},
		{Queued: true}, {Queued: true, UserID: "ada"},
		{States: []store.SessionState{store.SessionActive}},
		{States: []store.SessionState{store.SessionEnded, store.SessionActive, store.SessionActive}},
		{States: []store.SessionState{store.SessionCreating, store.SessionActive, store.SessionTerminating}},
		{TaskID: "task", States: []store.SessionState{store.SessionActive, store.SessionEnded}},
		{Owner: "replica-1", States: []store.SessionState{store.SessionActive, store.SessionCreating}},
		{UserID: "ada", Owner: "replica-1", Container: "container", Instance: "instance", Labels: map[string]string{"n": "1"}},
	}
}

func queriesSelect(t *testing.T, h *handle) {
	sessions := crowd(300)
	h.put(records(sessions)...)
	other := naming.Repository{Host: "git.example.org", Path: "team/app"} // as the crowd's, on another host
	qs := append(crowdQueries(),
		store.SessionQuery{TaskID: "other-task", UserID: "bob"},
		store.SessionQuery{UserID: "bob", States: []store.SessionState{store.SessionEnded}},
		store.SessionQuery{Repository: other},
		store.SessionQuery{Labels: map[string]string{"team": "red", "n": "2"}},
		store.SessionQuery{Labels: map[string]string{"team": ""}},
		store.SessionQuery{Labels: map[string]string{"absent": ""}},
		store.SessionQuery{States: []store.SessionState{"unheard of"}},
		store.SessionQuery{Queued: true, UserID: "bob"},
		store.SessionQuery{Queued: true, States: []store.SessionState{store.SessionCreating}},
		store.SessionQuery{LeaseBefore: minute(300), Instance: "other-instance"},
		store.SessionQuery{LeaseBefore: minute(300), States: []store.SessionState{store.SessionEnded}},
		store.SessionQuery{EndedBefore: minute(300), UserID: "ada"},
		store.SessionQuery{EndedBefore: minute(300), LeaseBefore: minute(300)},
		store.SessionQuery{Page: store.Page{After: "s-5000"}},
		store.SessionQuery{Page: store.Page{After: "s-50"}, UserID: "ada"},
		store.SessionQuery{Page: store.Page{After: "zzz"}},
	)
	h.view(func(v store.View) error {
		for _, q := range qs {
			if err := sameSessions(v, sessions, q); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
	h.agrees(sessions...)
}

func pagesAreWhole(t *testing.T, h *handle) {
	const n = 2*store.DefaultLimit + 40
	sessions := crowd(n)
	var instances []*store.Instance
	var containers []*store.Container
	for i := range n {
		id := fmt.Sprintf("x-%04d", i*7919%10000)
		instances = append(instances, &store.Instance{ID: id, State: instanceStates[i%len(instanceStates)]})
		containers = append(containers, &store.Container{
			ID: id, State: containerStates[i%len(containerStates)], Owner: fmt.Sprint(i / 40 % 2), Instance: fmt.Sprint(i / 50 % 2),
		})
	}
	h.put(records(sessions)...)
	h.put(records(instances)...)
	h.put(records(containers)...)
	h.view(func(v store.View) error {
		for _, limit := range []int{0, 70} {
			for _, q := range crowdQueries() {
				q.Limit = limit
				paged(t, fmt.Sprintf("sessions %+v", q), expectAll(sessions, q), func(after string) ([]*store.Session, error) {
					q.After = after
					return v.Sessions(q)
				})
			}
			for _, q := range []store.InstanceQuery{{}, {States: instanceStates[1:4]}, {States: instanceStates[2:3]}} {
				q.Limit = limit
				want := slices.DeleteFunc(byID(instances), func(r *store.Instance) bool { return !oneOf(q.States, r.State) })
				paged(t, fmt.Sprintf("instances %+v", q), want, func(after string) ([]*store.Instance, error) {
					q.After = after
					return v.Instances(q)
				})
			}
			for _, q := range []store.ContainerQuery{
				{}, {States: containerStates[1:3]}, {Owner: "1"}, {Instance: "0"}, {Owner: "0", Instance: "1", States: containerStates[:2]},
			} {
				q.Limit = limit
				want := slices.DeleteFunc(byID(containers), func(r *store.Container) bool {
					return !wanted(q.Owner, r.Owner) || !wanted(q.Instance, r.Instance) || !oneOf(q.States, r.State)
				})
				paged(t, fmt.Sprintf("containers %+v", q), want, func(after string) ([]*store.Container, error) {
					q.After = after
					return v.Containers(q)
				})
			}
		}
		return nil
	})
}

// paged asks for page after page until one is empty.
func paged[R store.Record](t *testing.T, what string, want []R, next func(after string) ([]R, error)) {
	t.Helper()
	var all []R
	for after := ""; len(all) <= len(want); after = all[len(all)-1].Key().ID {
		page, err := next(after)
		if err != nil {
			t.Fatalf("%s: %v", what, err)
		}
		if len(page) == 0 {
			break
		}
		all = append(all, page...)
	}
	if err := sameList(what, all, want); err != nil {
		t.Error(err)
	}
}

func pageSizes(t *testing.T, h *handle) {
	sessions := crowd(store.MaxLimit + 100)
	h.put(records(sessions)...)
	h.view(func(v store.View) error {
		q := store.SessionQuery{Page: store.Page{Limit: store.MaxLimit + 1}}
		paged(t, "the largest pages", byID(sessions), func(after string) ([]*store.Session, error) {
			q.After = after
			return v.Sessions(q)
		})
		for limit, want := range map[int]int{
			-1: store.DefaultLimit, 0: store.DefaultLimit, 1: 1, 999: 999, 1000: 1000, 1001: store.MaxLimit, 1 << 40: store.MaxLimit,
		} {
			p := store.Page{Limit: limit}
			for _, q := range []store.SessionQuery{{Page: p}, {Page: p, Queued: true}} {
				got, err := v.Sessions(q)
				if err != nil {
					return err
				}
				if len(got) != want {
					t.Errorf("limit %d gave a page of %d, want %d", limit, len(got), want)
				}
			}
		}
		return nil
	})
}

func idsAreBytes(t *testing.T, h *handle) {
	ids := []string{"a", "B", "b", "A", "Z", "z", "10", "9", "-a", "_a", "a b", "a-b", "ab", "é", "e", "ee", "aa", "~", "Ä", "🚢", "\ufffd"}
	var instances []*store.Instance
	for _, id := range ids {
		instances = append(instances, &store.Instance{ID: id, State: store.InstanceReady, Slots: 1})
	}
	h.put(records(instances)...)
	h.view(func(v store.View) error {
		for _, q := range []store.InstanceQuery{{}, {States: instanceStates[2:3]}, {Placeable: true}} {
			got, err := v.Instances(q)
			if err != nil {
				return err
			}
			if err := sameList(fmt.Sprintf("%+v", q), got, byID(instances)); err != nil {
				t.Error(err)
			}
		}
		for i, after := range byID(instances) {
			got, err := v.Instances(store.InstanceQuery{Page: store.Page{After: after.ID}})
			if err != nil {
				return err
			}
			if err := sameList("after "+after.ID, got, byID(instances)[i+1:]); err != nil {
				t.Error(err)
			}
		}
		return nil
	})
}

// indexesFollow leads sessions through their lives, and asks at each step.
func indexesFollow(_ *testing.T, h *handle) {
	bystander := filled(&store.Session{}, 9)
	s := &store.Session{ID: "s", TaskID: "t", UserID: "u", Owner: "r1", Queued: true, State: store.SessionCreating, CreatedAt: epoch}
	h.put(bystander, s)
	for _, step := range []func(){
		func() {},
		func() { s.Queued, s.Container, s.Instance, s.EngineID = false, "c1", "i1", "e1" },
		func() { s.Container, s.Instance = "c2", "i2" },
		func() { s.State, s.LeaseUntil = store.SessionActive, minute(10) },
		func() { s.LeaseUntil = minute(20) },
		func() { s.LeaseUntil = time.Time{} },
		func() { s.LeaseUntil, s.Owner = minute(30), "r2" },
		func() { s.Labels = map[string]string{"team": "blue"} },
		func() { s.Labels = map[string]string{"team": "red"} },
		func() { s.SharingKey.Repository = bystander.SharingKey.Repository },
		func() { s.UserID, s.TaskID = bystander.UserID, bystander.TaskID },
		func() { s.State, s.Owner = store.SessionTerminating, "" },
		func() { s.State, s.EndedAt = store.SessionEnded, minute(40) },
		func() { s.EndedAt = minute(50) },
		func() { s.State = store.SessionActive },
	} {
		step()
		h.put(s)
		h.agrees(bystander, s)
	}
	h.delete(s.Key())
	h.agrees(bystander)
}

func usageComesByHour(t *testing.T, h *handle) {
	var rows []*store.Usage
	for i := range store.MaxLimit + 200 {
		hour := epoch.Add(time.Duration(i*7919%48) * time.Hour)
		rows = append(rows, &store.Usage{ID: store.UsageID(hour, fmt.Sprintf("%04x", i)), Used: int64(i)})
	}
	h.put(records(rows)...)
	at := func(hours float64) time.Time { return epoch.Add(time.Duration(hours * float64(time.Hour))) }
	h.view(func(v store.View) error {
		for _, q := range []store.UsageQuery{
			{}, {From: at(20)}, {From: at(20.5)}, {To: at(30)}, {To: at(30.5)}, {From: at(22), To: at(26)},
			{From: at(23.9), To: at(24.1)}, {From: at(5), To: at(5)}, {From: at(90)}, {To: at(-1)},
		} {
			for _, limit := range []int{0, 170, store.MaxLimit} {
				q := q
				q.Limit = limit
				want := slices.DeleteFunc(byID(rows), func(r *store.Usage) bool { return len(expectUsage([]*store.Usage{r}, q)) == 0 })
				paged(t, fmt.Sprintf("usage %+v", q), want, func(after string) ([]*store.Usage, error) {
					q.After = after
					return v.Usage(q)
				})
			}
		}
		return nil
	})
	h.delete(keysOf(rows[:300])...)
	rows = rows[300:]
	rows[0].Used = 1 << 40
	h.put(rows[0])
	h.view(func(v store.View) error {
		got, err := v.Usage(store.UsageQuery{To: at(20), Page: store.Page{Limit: store.MaxLimit}})
		want := slices.DeleteFunc(byID(rows), func(r *store.Usage) bool { return !r.Hour().Before(at(20)) })
		return cmp.Or(err, sameList("after a removal", got, want))
	})
}

func failedLeavesNoEntry(_ *testing.T, h *handle) {
	sessions := crowd(20)
	h.put(records(sessions)...)
	for i, s := range sessions {
		_ = h.Update(h.ctx, keysOf(sessions), func(tx store.Tx) error {
			changed := filled(&store.Session{}, i)
			changed.ID, changed.State, changed.Queued = s.ID, store.SessionEnded, false
			if err := cmp.Or(tx.Put(changed), tx.Delete(sessions[0].Key()), tx.Put(filled(&store.Session{}, 500))); err != nil {
				return err
			}
			return errOfCaller
		})
	}
	h.agrees(sessions...)
}

// expectAll is expectSessions without the page.
func expectAll(all []*store.Session, q store.SessionQuery) []*store.Session {
	return slices.DeleteFunc(byID(all), func(r *store.Session) bool {
		return len(expectSessions([]*store.Session{r}, q)) == 0
	})
}

func byID[R store.Record](rs []R) []R {
	return slices.SortedFunc(slices.Values(rs), func(a, b R) int { return cmp.Compare(a.Key().ID, b.Key().ID) })
}

func records[R store.Record](rs []R) []store.Record {
	all := make([]store.Record, len(rs))
	for i, r := range rs {
		all[i] = r
	}
	return all
}
