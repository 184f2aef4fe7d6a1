package dashboard

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"
)

// viewing is one request for a page or its data.
type viewing struct {
	ctx  context.Context
	q    query
	sees func(*task) bool
	now  time.Time

	waited time.Duration // for others: that costs nothing
}

// page is a page and its data.
type page struct {
	name     string // of the template, and of the entry in the navigation that it belongs to
	nav      string
	title    string
	api      string                                                  // the path of its data below /api; "" = the page's own
	prepared func(s *server, v *viewing) any                         // reads what is not in the model; nil = nothing
	view     func(s *server, v *viewing, sc scope, prepared any) any // nil = there is no such thing
}

var pages = map[string]*page{
	"/{$}": {
		name: "repositories", nav: "repositories", title: "Repositories", api: "/repositories",
		prepared: func(s *server, v *viewing) any { return s.dayUsage(v) },
		view: func(s *server, v *viewing, sc scope, prepared any) any {
			return s.repositories(sc, v.q, prepared.(byRepository), v.now)
		},
	},
	"/repository": {
		name: "repository", nav: "repositories", title: "Repository",
		prepared: func(s *server, v *viewing) any { return s.dayUsage(v) },
		view: func(s *server, v *viewing, sc scope, prepared any) any {
			if r := s.repository(sc, v.q, prepared.(byRepository), v.now); r != nil {
				return r
			}
			return nil
		},
	},
	"/tasks": {
		name: "tasks", nav: "tasks", title: "Tasks",
		view: func(_ *server, v *viewing, sc scope, _ any) any { return sc.list(v.q) },
	},
	"/tasks/{id}": {
		name: "task", nav: "tasks", title: "Task",
		prepared: func(s *server, v *viewing) any { return s.commands(v) },
		view: func(s *server, v *viewing, sc scope, prepared any) any {
			if t := s.model.one(sc, v.q.id, v.now); t != nil {
				t.CanEnd = t.CanEnd && s.opts.Authorize != nil
				t.Commands = prepared.(*commandsView)
				return t
			}
			return nil
		},
	},
	"/instances": {
		name: "instances", nav: "instances", title: "Instances",
		view: func(s *server, v *viewing, sc scope, _ any) any {
			m := sc.machines(v.q, v.now)
			m.CanAct = s.opts.Authorize != nil
			return m
		},
	},
	"/queue": {
		name: "queue", nav: "queue", title: "Queue",
		view: func(_ *server, v *viewing, sc scope, _ any) any { return sc.queue(v.q, v.now) },
	},
	"/events": {
		name: "events", nav: "events", title: "Events",
		view: func(s *server, v *viewing, sc scope, _ any) any { return s.model.eventList(sc, v.q) },
	},
	"/usage": {
		name: "usage", nav: "usage", title: "Usage",
		prepared: func(s *server, v *viewing) any {
			var labels []string
			s.model.look(func(st *state) { labels = scope{state: st}.usageLabels() })
			bill, err := s.bill(v, labels)
			if err != nil {
				return err
			}
			return bill
		},
		view: func(_ *server, _ *viewing, _ scope, prepared any) any { return prepared },
	},
}

// asked reads a request.
func (s *server) asked(r *http.Request, most int) *viewing {
	return &viewing{
		ctx: r.Context(), q: query{Values: r.URL.Query(), id: r.PathValue("id"), most: most}, sees: s.sees(r), now: time.Now(),
	}
}

// gather makes the data of a page. data is nil if there is no such thing.
func (s *server) gather(p *page, v *viewing) (data any, st status, version uint64, err error) {
	if err := s.model.ensure(v.ctx); err != nil {
		return nil, st, 0, err
	}
	var prepared any
	if p.prepared != nil {
		prepared = p.prepared(s, v)
		if err, failed := prepared.(error); failed {
			return nil, st, 0, err
		}
	}
	err = errForgotten
	s.model.look(func(state *state) {
		sc := scope{state, v.sees}
		data, st = p.view(s, v, sc, prepared), s.model.status(sc, v.now)
		version, err = s.model.version, nil
	})
	return data, st, version, err
}

// errForgotten says that the model was dropped between two steps, or never read.
var errForgotten = errors.New("the pool's records are not read yet: ask again")

// eventsView is the list of events.
type eventsView struct {
	paging
	Type  string   `json:"-"`
	Text  string   `json:"-"`
	Types []string `json:"types"` // that there are
	Rows  []event  `json:"events"`
	Hint  string   `json:"-"`
}

// eventList lists events, the latest first.
func (m *model) eventList(sc scope, q query) *eventsView {
	v := &eventsView{Type: q.Get("type"), Text: q.Get("q"), Rows: []event{}, Types: []string{}}
	text := q.text()
	types := map[string]bool{}
	var found []event
	for _, e := range slices.Backward(m.events.all) {
		if !sc.hears(e) {
			continue
		}
		types[e.Type] = true
		if v.Type == "problems" && e.Level == "" || v.Type != "" && v.Type != "problems" && e.Type != v.Type {
			continue
		}
		if text != "" && !strings.Contains(strings.ToLower(strings.Join([]string{e.Type, e.Task, e.User, e.Repository, e.Container, e.Instance, line(e.Message, 1000)}, "\n")), text) {
			continue
		}
		found = append(found, e)
	}
	var from, to int
	v.paging, from, to = q.part(len(found))
	v.Rows = append(v.Rows, found[from:to]...)
	for t := range types {
		v.Types = append(v.Types, t)
	}
	slices.Sort(v.Types)
	if v.Hint = "No event matches."; v.Type == "" && text == "" {
		v.Hint = "Nothing has happened yet that the records still tell of."
	}
	return v
}

// hears reports whether the viewer sees an event. A viewer who is narrowed sees those of tasks that it sees, and those of instances.
func (sc scope) hears(e event) bool {
	switch {
	case sc.sees == nil:
		return true
	case e.who != nil:
		return sc.sees(e.who)
	case e.Session != "":
		t := sc.tasks[e.Session]
		return t != nil && sc.sees(t)
	}
	return e.Repository == "" && e.Container == ""
}
