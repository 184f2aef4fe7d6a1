package dashboard

import (
	"cmp"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// scope is what one viewer sees of the state.
type scope struct {
	*state
	sees func(*task) bool // nil = everything
}

func (sc scope) see(t *task) bool { return sc.sees == nil || sc.sees(t) }

// counts counts the tasks that the viewer sees.
func (sc scope) counts() counts {
	if sc.sees == nil {
		return sc.total
	}
	var c counts
	for _, t := range sc.order {
		if sc.sees(t) {
			c.add(t, 1)
		}
	}
	return c
}

// visible returns the repositories that the viewer sees. A viewer who is narrowed sees those of tasks that it sees, with the
// containers of these.
func (sc scope) visible() map[naming.Repository]*repo {
	if sc.sees == nil {
		return sc.repos
	}
	all := map[naming.Repository]*repo{}
	for _, t := range sc.order {
		if !sc.sees(t) {
			continue
		}
		name := t.SharingKey.Repository
		if all[name] == nil {
			all[name] = newRepo(name)
		}
		all[name].add(t, 1)
		if c := sc.containers[t.Container]; c != nil && t.State != store.SessionEnded {
			all[name].containers[c.ID] = c
		}
	}
	return all
}

// query is what a viewer asks for.
type query struct {
	url.Values
	id   string // of the path
	most int    // rows of a page
}

const (
	rowsOfPage = 50
	mostOfJSON = 1000
)

// number is the page, from 1.
func (q query) number() int {
	n, err := strconv.Atoi(q.Get("page"))
	if err != nil || n < 1 || n > 1_000_000 {
		return 1
	}
	return n
}

// text is what is searched for, in lower case.
func (q query) text() string { return strings.ToLower(strings.TrimSpace(q.Get("q"))) }

// paging says which part of a list a page shows.
type paging struct {
	Page  int `json:"page"`
	Pages int `json:"pages"`
	Total int `json:"total"` // rows that match
	First int `json:"-"`     // number of the first row, from 1
	Last  int `json:"-"`
}

// part returns the bounds of the rows that the page has.
func (q query) part(total int) (p paging, from, to int) {
	p = paging{Total: total, Pages: max((total+q.most-1)/q.most, 1)}
	p.Page = min(q.number(), p.Pages)
	from = (p.Page - 1) * q.most
	to = min(from+q.most, total)
	p.First, p.Last = min(from+1, total), to
	return p, from, to
}

// order sorts by one of some columns. A name with '-' before it is descending.
func order[R any](rows []R, by string, columns map[string]func(a, b R) int, last func(a, b R) int) {
	name, down := strings.CutPrefix(by, "-")
	compare := columns[name]
	if compare == nil {
		slices.SortFunc(rows, last)
		return
	}
	slices.SortFunc(rows, func(a, b R) int {
		c := compare(a, b)
		if down {
			c = -c
		}
		return cmp.Or(c, last(a, b))
	})
}

// containerRow is a container.
type containerRow struct {
	Name     string  `json:"name"`
	ID       string  `json:"id"`
	EngineID string  `json:"engine_id,omitempty"`
	Instance string  `json:"instance"`
	Scope    string  `json:"scope,omitempty"`
	State    string  `json:"state"` // starting, ready, empty, stopping, lost
	Image    string  `json:"image"` // of one that starts: by the configuration of this process
	Age      seconds `json:"age"`
	Tasks    int     `json:"tasks"`
	Failure  string  `json:"failure,omitempty"`
	// Warm is until when it is kept up without tasks. Zero = it is not, or no longer.
	Warm time.Time `json:"warm_until,omitzero"`
	moments
}

// taskRef names a task.
type taskRef struct {
	Session string `json:"session"`
	Task    string `json:"task"`
	User    string `json:"user"`
	State   string `json:"state"`
}

func refer(t *task) taskRef {
	return taskRef{Session: t.ID, Task: t.TaskID, User: t.UserID, State: t.shown()}
}

// shown is the task's state as it is shown: one that waits for a slot has a word of its own.
func (t *task) shown() string {
	if t.Queued && t.State == store.SessionCreating {
		return "waiting"
	}
	return string(t.State)
}

// firstUsers returns the users with most tasks.
func firstUsers(users map[string]int, n int) []string {
	all := slices.SortedFunc(maps.Keys(users), func(a, b string) int { return cmp.Or(users[b]-users[a], cmp.Compare(a, b)) })
	return all[:min(len(all), n)]
}
