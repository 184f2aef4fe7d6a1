package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"

	"github.com/berth-go/berth"
)

// A backend serves tasks over HTTP. It keeps no state: any replica answers for any task, whichever has made it.
//
//	POST   /tasks           gives a task its place. May be repeated, at another replica too
//	GET    /tasks           lists the tasks of all replicas
//	POST   /tasks/{id}/run  runs a command, a JSON array, and sends what it prints as it comes
//	DELETE /tasks/{id}      ends a task. May be repeated
//	GET    /stats           what this replica has done
//	DELETE /pool            ends all tasks of all replicas, and removes what berth has made
//
// A real one asks who is there: see Access control in the README.
type backend struct{ provider *berth.Provider }

// Task is what a client asks for.
type Task struct {
	ID         string `json:"id"`
	User       string `json:"user"`
	Repository string `json:"repository"`
	Branch     string `json:"branch,omitempty"`
}

// Place is where a task runs.
type Place struct {
	Task      string             `json:"task"`
	Session   string             `json:"session"`
	State     berth.SessionState `json:"state"`
	Start     berth.StartKind    `json:"start"` // cold, warm or attached
	Container string             `json:"container"`
}

func placeOf(s *berth.Session) Place {
	info := s.Info()
	return Place{Task: info.TaskID, Session: info.ID, State: info.State, Start: info.Start, Container: info.Container.Name}
}

// What follows the output of a command, as HTTP trailers.
const (
	exitTrailer  = "Exit-Code"
	errorTrailer = "Error" // why the command's end is not known
)

func (b *backend) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("POST /tasks", answer(b.create))
	mux.HandleFunc("GET /tasks", answer(b.list))
	mux.HandleFunc("POST /tasks/{id}/run", b.run)
	mux.HandleFunc("DELETE /tasks/{id}", answer(b.end))
	mux.HandleFunc("GET /stats", answer(func(*http.Request) (any, error) { return b.provider.Stats(), nil }))
	mux.HandleFunc("DELETE /pool", answer(func(r *http.Request) (any, error) { return nil, b.provider.Destroy(r.Context()) }))
	return mux
}

// create gives a task its place. If the client goes away meanwhile, nothing is left. If this process dies, the next
// create of the same task, at any replica, waits until what it had begun is undone, and then begins anew.
func (b *backend) create(r *http.Request) (any, error) {
	var task Task
	if err := decode(r, &task); err != nil {
		return nil, err
	}
	s, err := b.provider.CreateSession(r.Context(), berth.SessionRequest{
		TaskID: task.ID, UserID: task.User, Repository: task.Repository, Branch: task.Branch,
	})
	if err != nil {
		return nil, err
	}
	return placeOf(s), nil
}

func (b *backend) list(r *http.Request) (any, error) {
	places := []Place{}
	for s, err := range b.provider.ListSessions(r.Context(), berth.SessionFilter{}) {
		if err != nil {
			return nil, err
		}
		places = append(places, placeOf(s))
	}
	return places, nil
}

// run runs a command. If the client goes away, the command is killed with all that it started. If this process dies, the
// command goes on, and keeps its session alive; what it prints from then on is lost.
func (b *backend) run(w http.ResponseWriter, r *http.Request) {
	var command []string
	err := decode(r, &command)
	if err == nil && len(command) == 0 {
		err = &berth.FieldError{Field: "body", Reason: "must name a command"}
	}
	var s *berth.Session
	if err == nil {
		s, err = b.find(r)
	}
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Trailer", exitTrailer+", "+errorTrailer)
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	out := &flusher{w, http.NewResponseController(w)}
	cmd := s.Command(r.Context(), command[0], command[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		w.Header().Del("Trailer")
		refuse(w, err)
		return
	}
	err = cmd.Wait()
	if _, exited := errors.AsType[*berth.ExitError](err); err != nil && !exited {
		w.Header().Set(errorTrailer, strings.Join(strings.Fields(err.Error()), " "))
	}
	w.Header().Set(exitTrailer, strconv.Itoa(cmd.ExitCode))
}

// end ends a task. One that has no session is ended already.
func (b *backend) end(r *http.Request) (any, error) {
	s, err := b.find(r)
	if errors.Is(err, berth.ErrSessionNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, b.provider.TerminateSession(r.Context(), s.ID())
}

// find returns the session of the request's task, whichever replica has made it. There is at most one.
func (b *backend) find(r *http.Request) (*berth.Session, error) {
	for s, err := range b.provider.ListSessions(r.Context(), berth.SessionFilter{TaskID: r.PathValue("id")}) {
		return s, err
	}
	return nil, berth.ErrSessionNotFound
}

// A flusher sends at once what is written to it.
type flusher struct {
	http.ResponseWriter
	control *http.ResponseController
}

func (f *flusher) Write(b []byte) (int, error) {
	n, err := f.ResponseWriter.Write(b)
	return n, cmp.Or(err, f.control.Flush())
}

func decode(r *http.Request, into any) error {
	if err := json.NewDecoder(r.Body).Decode(into); err != nil {
		return &berth.FieldError{Field: "body", Reason: err.Error()}
	}
	return nil
}

// answer makes an http handler: what do returns is sent as JSON.
func answer(do func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := do(r)
		switch {
		case err != nil:
			refuse(w, err)
		case value == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(value)
		}
	}
}

// refuse sends an error as its status and text. Neither berth's nor git's messages hold a credential.
func refuse(w http.ResponseWriter, err error) {
	code := status(err)
	if code == http.StatusServiceUnavailable {
		w.Header().Set("Retry-After", "5")
	}
	http.Error(w, strings.TrimSpace(err.Error()), code)
}

// status tells the client what to do about an error.
func status(err error) int {
	is := func(target error) bool { return errors.Is(err, target) }
	_, start := errors.AsType[*berth.StartError](err)
	switch {
	case is(berth.ErrInvalid):
		return http.StatusBadRequest
	case is(berth.ErrSessionNotFound):
		return http.StatusNotFound
	case is(berth.ErrTaskConflict):
		return http.StatusConflict // the ID is another task's
	case is(berth.ErrExpired), is(berth.ErrTerminated):
		return http.StatusGone // it ended on purpose
	case is(berth.ErrInstanceLost), is(berth.ErrContainerLost):
		return http.StatusBadGateway // create it again: it gets a new place
	case is(berth.ErrNoCapacity), is(berth.ErrClosed), is(berth.ErrSuspended), is(berth.ErrAbandoned):
		return http.StatusServiceUnavailable // later, or another replica
	case start:
		return http.StatusUnprocessableEntity // git's own message: no such repository or branch, no access
	}
	return http.StatusInternalServerError
}
