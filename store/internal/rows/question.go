package rows

import (
	"fmt"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// Question is a query as a database gets it.
type Question struct {
	Name  string
	Index string // that it is to use; "" = the primary key
	SQL   string
	Args  []any
}

// Questions returns one for each way in which a store may be asked, with values that select something where a test has
// filled the table with them: for the tests that let a database explain what it does.
func Questions(from func(index string) string) []Question { return questions(from, false) }

// CoarseQuestions are Questions to a table with the [CoarseIndexes].
func CoarseQuestions(from func(index string) string) []Question { return questions(from, true) }

func questions(from func(index string) string, coarse bool) []Question {
	var all []Question
	add := func(q any, p *plan, some bool) {
		if some {
			sql, args := p.sql(from, coarse)
			all = append(all, Question{fmt.Sprintf("%T%+v", q, q), p.index, sql, args})
		}
	}
	sessions := func(q store.SessionQuery) {
		p, some := planSessions(q)
		add(q, p, some)
		q.States = []store.SessionState{store.SessionActive, store.SessionCreating}
		p, some = planSessions(q)
		add(q, p, some)
	}
	when := time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)
	repository := naming.Repository{Host: "git.example.com", Path: "team/app"}
	for _, page := range []store.Page{{}, {After: "m"}} {
		for _, q := range []store.InstanceQuery{
			{}, {Placeable: true}, {States: []store.InstanceState{store.InstanceReady}},
			{States: []store.InstanceState{store.InstanceReady, store.InstanceLost}},
		} {
			q.Page = page
			p, some := planInstances(q)
			add(q, p, some)
		}
		for _, q := range []store.UsageQuery{{}, {From: when}, {To: when}, {From: when, To: when}} {
			q.Page = page
			add(q, planUsage(q), true)
		}
		for _, q := range []store.ContainerQuery{
			{}, {Instance: "x"}, {Owner: "x"}, {Instance: "x", Owner: "x"},
			{States: []store.ContainerState{store.ContainerReady, store.ContainerStopping}},
			{Owner: "x", States: []store.ContainerState{store.ContainerReady}},
		} {
			q.Page = page
			p, some := planContainers(q)
			add(q, p, some)
		}
		for _, q := range []store.SessionQuery{
			{}, {TaskID: "x"}, {UserID: "x"}, {Repository: repository}, {Container: "x"}, {Instance: "x"}, {Owner: "x"},
			{Queued: true}, {LeaseBefore: when}, {EndedBefore: when}, {Labels: map[string]string{"x": "x"}},
			{UserID: "x", Repository: repository, Owner: "x"}, {Queued: true, UserID: "x"}, {LeaseBefore: when, UserID: "x"},
		} {
			q.Page = page
			sessions(q)
		}
	}
	for _, q := range []store.SessionQuery{{LeaseBefore: when}, {EndedBefore: when}} { // the next page
		p, _ := planSessions(q)
		p.goOn(&store.Session{ID: "m", State: store.SessionActive, LeaseUntil: when.Add(-1)})
		add(q, p, true)
	}
	p, _ := planInstances(store.InstanceQuery{Placeable: true})
	p.goOn(&store.Instance{ID: "m", State: store.InstanceReady, Slots: 1})
	add("the next page", p, true)
	return all
}
