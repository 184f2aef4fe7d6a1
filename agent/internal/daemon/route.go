package daemon

import (
	"net/url"
	"strings"

	"github.com/berth-go/berth/agent/internal/h2"
	"github.com/berth-go/berth/agent/internal/wire"
)

// A request is one request, with what its path and query say.
type request struct {
	*h2.Stream
	values map[string]string // by the names in the route's path
	query  url.Values
}

// A route is a handler and the requests that it answers. In a path, {name} stands for any segment.
type route struct {
	method, path string // below wire.Root
	handle       func(*request) error
}

// routes are in the order in which they are tried.
func (d *Daemon) routes() []route {
	return []route{
		{"GET", "hello", d.hello},
		{"GET", "watch", d.watch},
		{"GET", "state", d.state},
		{"GET", "isolation", d.isolation},
		{"GET", "sessions", d.listSessions},
		{"GET", "ended", d.listEnded},
		{"GET", "sessions/{id}", d.sessionActivity},
		{"POST", "sessions/{id}/renew", d.renewSession},
		{"GET", "sessions/{id}/commands", d.sessions.listCommands},
		{"GET", "sessions/{id}/commands/{command}", d.commands.attach(&d.sessions)},
		{"GET", "sessions/{id}/ports", d.sessions.listPorts},
		{"POST", "connections/{id}", d.commands.lines.dial},
		{"GET", "layers/{name}", func(r *request) error { return sendLayer(d, r) }},
		{"PUT", "layers/{key}", func(r *request) error { return takeLayer(d, r) }},
		{"GET", "questions", takeQuestions(&d.desk)},
		{"PUT", "questions/{id}", answerQuestion(&d.desk)},
		{"POST", "calls/{id}", d.makeCall},
		{"DELETE", "calls/{id}", d.dropCall},
		{"POST", "commands/{id}", d.startCommand},
		{"POST", "commands/{id}/start", d.startCommand},
		{"DELETE", "commands/{id}", d.releaseCommand},
		{"POST", "commands/{id}/kill", d.killCommand},
		{"POST", "commands/{id}/signals/{n}", d.commands.signal},
		{"PUT", "commands/{id}/size", d.commands.resize},
		{"GET", "commands/{id}/exit", d.commandExit},
		{"PUT", "commands/{id}/stdin", d.commandInput},
		{"GET", "commands/{id}/{stream}", d.commandOutput},
		{"DELETE", "commands/{id}/{stream}", d.closeOutput},
	}
}

// serve answers a request by the first route that fits. A client takes 404 without an error of the agent as the answer
// of one that is too old.
func serve(routes []route, s *h2.Stream) {
	status := 404
	for _, to := range routes {
		values, ok := match(to.path, s.Path)
		if !ok {
			continue
		}
		if to.method != s.Method {
			status = 405
			continue
		}
		query, _ := url.ParseQuery(s.Query)
		if err := to.handle(&request{s, values, query}); err != nil {
			writeError(s, err)
		}
		return
	}
	s.SetStatus(status)
}

// match compares a request's path with a route's, and returns the segments that names stand for.
func match(route, path string) (values map[string]string, ok bool) {
	path, ok = strings.CutPrefix(path, wire.Root)
	want, have := strings.Split(route, "/"), strings.Split(path, "/")
	if !ok || len(want) != len(have) {
		return nil, false
	}
	values = make(map[string]string)
	for i, segment := range want {
		value, err := url.PathUnescape(have[i])
		switch name, named := strings.CutPrefix(segment, "{"); {
		case err != nil || value == "" || !named && value != segment:
			return nil, false
		case named:
			values[strings.TrimSuffix(name, "}")] = value
		}
	}
	return values, true
}
