package main

import (
	"net/http"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/examples/hosttest"
)

// A backend serves tasks over HTTP. It keeps no state: each replica answers for each task and run, also for those of other
// replicas. Most handlers are those of hosttest.Tasks. The backend adds:
//
//	GET    /tasks  lists the tasks of all replicas
//	GET    /stats  what this replica has done
//	DELETE /pool   ends all tasks of all replicas, and removes everything that berth has made
//
// A real backend checks who sends a request: see Access control in the README.
type backend struct{ provider *berth.Provider }

func (b *backend) handler() http.Handler {
	mux := http.NewServeMux()
	tasks := &hosttest.Tasks{Compute: b.provider, Agent: []string{"sh"}} // runs the prompt as a script
	tasks.Register(mux)
	mux.HandleFunc("GET /tasks", hosttest.Answer(b.list))
	mux.HandleFunc("GET /stats", hosttest.Answer(func(*http.Request) (any, error) { return b.provider.Stats(), nil }))
	mux.HandleFunc("DELETE /pool", hosttest.Answer(func(r *http.Request) (any, error) {
		return nil, b.provider.Destroy(r.Context())
	}))
	return mux
}

func (b *backend) list(r *http.Request) (any, error) {
	places := []hosttest.Place{}
	for s, err := range b.provider.ListSessions(r.Context(), berth.SessionFilter{}) {
		if err != nil {
			return nil, err
		}
		places = append(places, hosttest.PlaceOf(s))
	}
	return places, nil
}
