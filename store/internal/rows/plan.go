package rows

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/berth-go/berth/store"
)

// plan says how to read one page: from one index, in its order, or from several places of it that are merged by ID.
type plan struct {
	kind  store.Kind
	index string   // "" = the primary key
	terms []term   // all of them apply
	state []string // the values of that column; none = any
	all   bool     // these are all that there are
	merge bool     // the index has the state before the ID, or whether that is ended
	order string   // the column that the index is ordered by, before the ID
	after string
	from  int64 // with order: where to go on
	again bool  // from and after are set
	size  int   // of the page
	limit int   // of the rows that are read at a time
}

// term is a condition of a query.
type term struct {
	column, operator string
	value            any
}

// mostRead is how many records are read at a time when most of them may have other labels.
const mostRead = 200

func newPlan(kind store.Kind, page store.Page) *plan {
	return &plan{kind: kind, after: page.After, size: page.Size(), limit: page.Size()}
}

// by adds a condition, and takes the index of the column if no other was taken.
func (p *plan) by(column, value string) {
	if value == "" {
		return
	}
	p.terms = append(p.terms, term{column, "=", value})
	if p.index == "" {
		p.index, p.merge = "records_"+column, true
	}
}

// in takes the states, and their index if no other was taken.
func (p *plan) in(states []string, all bool) {
	if p.index == "" && !all {
		p.index, p.merge = "records_state", true
	}
	if p.merge || !all {
		p.state, p.all = states, all
	}
}

// before takes an index that gives an order of its own.
func (p *plan) before(column string, limit any) {
	p.index, p.order, p.after = "records_"+column, column, ""
	if limit != nil {
		p.terms = append(p.terms, term{column, "<", limit})
	}
}

func planInstances(q store.InstanceQuery) (p *plan, some bool) {
	p = newPlan(store.KindInstance, q.Page)
	if q.Placeable {
		p.before("room", nil)
		return p, oneOf(q.States, store.InstanceReady)
	}
	p.in(stateColumns(instanceStates, q.States), len(q.States) == 0)
	return p, true
}

func planContainers(q store.ContainerQuery) (p *plan, some bool) {
	p = newPlan(store.KindContainer, q.Page)
	p.by("instance", q.Instance)
	p.by("owner", q.Owner)
	p.in(stateColumns(containerStates, q.States), len(q.States) == 0)
	return p, true
}

func planUsage(q store.UsageQuery) *plan {
	p := newPlan(store.KindUsage, q.Page)
	var before string
	if p.after, before = q.Bounds(); before != "" {
		p.terms = append(p.terms, term{"id", "<", before})
	}
	return p
}

// planSessions takes, of the indexes that a query could use, the first of those below: those that give an order must
// come first, and of the others those that hold the fewest sessions per value.
func planSessions(q store.SessionQuery) (p *plan, some bool) {
	p = newPlan(store.KindSession, q.Page)
	if len(q.Labels) > 0 {
		p.limit = max(p.limit, mostRead)
	}
	some = true
	if !q.LeaseBefore.IsZero() {
		p.before("lease_until", micros(q.LeaseBefore))
		some = q.EndedBefore.IsZero() && oneOf(q.States, store.SessionActive)
	} else if !q.EndedBefore.IsZero() {
		p.before("ended_at", micros(q.EndedBefore))
		some = oneOf(q.States, store.SessionEnded)
	}
	if q.Queued {
		p.terms = append(p.terms, term{"queued", "=", true})
		if p.index == "" {
			p.index = "records_queued"
		}
	}
	p.by("task", q.TaskID)
	p.by("container", q.Container)
	p.by("instance", q.Instance)
	p.by("usr", q.UserID)
	if !q.Repository.IsZero() {
		p.by("repository", q.Repository.String())
	}
	p.by("owner", q.Owner)
	if p.order == "" {
		p.in(stateColumns(sessionStates, q.States), len(q.States) == 0)
	}
	return p, some
}

// goOn makes p continue after a record.
func (p *plan) goOn(last store.Record) {
	p.again, p.after = true, last.Key().ID
	c := ColumnsOf(last)
	switch p.order {
	case "room":
		p.from = c.Room
	case "lease_until":
		p.from = c.LeaseUntil
	case "ended_at":
		p.from = c.EndedAt
	}
}

// sql puts the plan into words that SQLite and PostgreSQL both know, with numbered placeholders.
func (p *plan) sql(from func(index string) string, coarse bool) (string, []any) {
	var args []any
	arg := func(v any) string {
		args = append(args, v)
		return "$" + strconv.Itoa(len(args))
	}
	where := []string{fmt.Sprintf("kind = %d", p.kind)}
	for _, t := range p.terms {
		value := "TRUE"
		if t.value != true {
			value = arg(t.value)
		}
		where = append(where, t.column+" "+t.operator+" "+value)
	}
	order := "id"
	switch {
	case p.order != "":
		order = p.order + ", id"
		if p.order == "room" {
			where = append(where, "room IS NOT NULL")
		}
		if p.again {
			where = append(where, fmt.Sprintf("(%s, id) > (%s, %s)", p.order, arg(p.from), arg(p.after)))
		}
	case p.after != "":
		where = append(where, "id > "+arg(p.after))
	}
	body := "SELECT id, body FROM " + from(p.index) + " WHERE " + strings.Join(where, " AND ")
	coarse = coarse && isCoarse(p.index)
	if len(p.state) > 0 && (!p.merge || coarse && !p.all) {
		var values []string
		for _, s := range p.state {
			values = append(values, arg(s))
		}
		body += " AND state IN (" + strings.Join(values, ", ") + ")"
	}
	var parts []string
	switch {
	case !p.merge:
		parts = []string{body}
	case coarse:
		for _, ended := range endedColumns(p.state) {
			parts = append(parts, body+" AND ended = "+ended)
		}
	default:
		for _, s := range p.state {
			parts = append(parts, body+" AND state = "+arg(s))
		}
	}
	return strings.Join(parts, " UNION ALL ") + " ORDER BY " + order + " LIMIT " + arg(p.limit), args
}
