package storetest

import (
	"fmt"
	"time"

	"pgregory.net/rapid"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// Few different values, so that random records meet.

func drawWord(t *rapid.T, name string) string {
	return rapid.SampledFrom([]string{"", "a", "b", "B"}).Draw(t, name)
}

func drawID(t *rapid.T) string {
	return rapid.SampledFrom([]string{"a", "b", "c", "B", "aa", "ä"}).Draw(t, "id")
}

func drawTime(t *rapid.T, name string) time.Time {
	n := rapid.IntRange(-1, 4).Draw(t, name)
	if n < 0 {
		return time.Time{}
	}
	return minute(n)
}

func drawRepository(t *rapid.T) naming.Repository {
	return rapid.SampledFrom([]naming.Repository{
		{}, {Host: "git.example.com", Path: "team/app"}, {Host: "git.example.org", Path: "team/app"}, {Host: "git.example.com", Path: "team/lib"},
		{Host: "git.example.com", Path: "team/app", Login: "ann"},
	}).Draw(t, "repository")
}

func drawLabels(t *rapid.T) map[string]string {
	labels := map[string]string{}
	for range rapid.IntRange(0, 2).Draw(t, "labels") {
		labels[drawWord(t, "label")] = drawWord(t, "value")
	}
	return labels
}

// drawHour returns one of a few hours on two days.
func drawHour(t *rapid.T, name string) time.Time {
	return epoch.Add(time.Duration(rapid.IntRange(22, 26).Draw(t, name)) * time.Hour)
}

// drawRecord returns a record: a session half of the time, since they have the most ways to be found.
func drawRecord(t *rapid.T) store.Record {
	id, n := drawID(t), rapid.IntRange(0, 3)
	switch kind := rapid.IntRange(0, 16).Draw(t, "kind"); kind {
	case 0:
		return &store.Pool{UID: id, Queued: n.Draw(t, "queued")}
	case 1:
		return &store.Sharing{ID: id, Containers: []string{drawWord(t, "container")}}
	case 2:
		return &store.Mirrors{Instance: id}
	case 3:
		return &store.Task{ID: id, Session: drawWord(t, "session")}
	case 4:
		return &store.Lease{ID: id, Holder: drawWord(t, "holder"), Fence: uint64(n.Draw(t, "fence"))}
	case 5:
		u := &store.User{ID: id, Sessions: n.Draw(t, "sessions"), Queued: n.Draw(t, "queued"), Revocations: uint64(n.Draw(t, "revocations"))}
		for range n.Draw(t, "starts") {
			u.Starts = append(u.Starts, store.Starts{Last: drawTime(t, "started"), N: n.Draw(t, "of them")})
		}
		return u
	case 6, 7:
		return &store.Instance{
			ID: id, State: rapid.SampledFrom(instanceStates).Draw(t, "state"),
			Slots: n.Draw(t, "slots"), Sessions: n.Draw(t, "sessions"), CreatedAt: drawTime(t, "created"),
		}
	case 8, 9:
		return &store.Container{
			ID: id, State: rapid.SampledFrom(containerStates).Draw(t, "state"),
			Instance: drawWord(t, "instance"), Owner: drawWord(t, "owner"),
		}
	case 10, 11:
		return &store.Usage{ID: store.UsageID(drawHour(t, "hour"), id), User: drawWord(t, "user"), Used: int64(n.Draw(t, "used"))}
	}
	return &store.Session{
		ID: id, State: rapid.SampledFrom(sessionStates).Draw(t, "state"),
		TaskID: drawWord(t, "task"), UserID: drawWord(t, "user"), Owner: drawWord(t, "owner"),
		Container: drawWord(t, "container"), Instance: drawWord(t, "instance"),
		SharingKey: naming.Key{Repository: drawRepository(t)}, Labels: drawLabels(t), Queued: rapid.Bool().Draw(t, "queued"),
		CreatedAt: drawTime(t, "created"), LeaseUntil: drawTime(t, "lease"), EndedAt: drawTime(t, "ended"),
	}
}

// drawQuery returns a query together with its comparison.
func drawQuery(t *rapid.T) func(store.View, model) error {
	p := store.Page{After: drawWord(t, "after"), Limit: rapid.IntRange(0, 4).Draw(t, "limit")}
	switch rapid.IntRange(0, 6).Draw(t, "query") {
	case 2:
		q := store.UsageQuery{Page: p}
		if rapid.Bool().Draw(t, "has a beginning") {
			q.From = drawHour(t, "from").Add(time.Minute)
		}
		if rapid.Bool().Draw(t, "has an end") {
			q.To = drawHour(t, "to").Add(time.Minute)
		}
		if rapid.Bool().Draw(t, "goes on") {
			q.After = store.UsageID(drawHour(t, "after hour"), drawID(t))
		}
		return func(v store.View, m model) error {
			got, err := v.Usage(q)
			return sameResult(q, err, got, expectUsage(all[*store.Usage](m), q))
		}
	case 0:
		q := store.InstanceQuery{States: drawStates(t, instanceStates), Placeable: rapid.Bool().Draw(t, "placeable"), Page: p}
		return func(v store.View, m model) error {
			got, err := v.Instances(q)
			return sameResult(q, err, got, expectInstances(all[*store.Instance](m), q))
		}
	case 1:
		q := store.ContainerQuery{Instance: drawWord(t, "instance"), Owner: drawWord(t, "owner"), States: drawStates(t, containerStates), Page: p}
		return func(v store.View, m model) error {
			got, err := v.Containers(q)
			return sameResult(q, err, got, expectContainers(all[*store.Container](m), q))
		}
	}
	q := drawSessionQuery(t, p)
	return func(v store.View, m model) error {
		return sameSessions(v, all[*store.Session](m), q)
	}
}

// drawSessionQuery sets each field in one query of four, so that most find something. It sets at most one field that
// gives an order: the contract does not say which of several does.
func drawSessionQuery(t *rapid.T, p store.Page) store.SessionQuery {
	q := store.SessionQuery{Page: p}
	for _, field := range rapid.SliceOfN(rapid.IntRange(0, 9), 0, 3).Draw(t, "fields") {
		switch field {
		case 0:
			q.States = drawStates(t, sessionStates)
		case 1:
			q.TaskID = drawWord(t, "task")
		case 2:
			q.UserID = drawWord(t, "user")
		case 3:
			q.Repository = drawRepository(t)
		case 4:
			q.Labels = drawLabels(t)
		case 5:
			q.Container = drawWord(t, "container")
		case 6:
			q.Instance = drawWord(t, "instance")
		case 7:
			q.Owner = drawWord(t, "owner")
		case 8:
			q.Queued = true
		case 9:
			q.LeaseBefore, q.EndedBefore = time.Time{}, time.Time{}
			if rapid.Bool().Draw(t, "by lease") {
				q.LeaseBefore = drawTime(t, "before")
			} else {
				q.EndedBefore = drawTime(t, "before")
			}
		}
	}
	return q
}

func drawStates[S any](t *rapid.T, all []S) []S {
	return rapid.SliceOfN(rapid.SampledFrom(all), 0, 3).Draw(t, "states")
}

func sameResult[R store.Record](q any, err error, got, want []R) error {
	if err != nil {
		return err
	}
	return sameList(fmt.Sprintf("%T%+v", q, q), got, want)
}
