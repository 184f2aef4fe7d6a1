// Package hosttest is an application that runs coding tasks for its users, reduced to its HTTP handler, and shows how
// to test one: its test runs the real Provider over fakes in virtual time, without Docker, git or AWS.
//
// Copy tasks.go for the handler, tasks_test.go for the test.
package hosttest

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"

	"github.com/berth-go/berth"
)

// Tasks serves the tasks of an application. It depends on berth.ComputeProvider alone, and keeps no state: a client
// names its task, and the TaskID finds the session again, also from another process over the same Store.
//
//	PUT    /tasks/{id}      gives the task its place. May be repeated
//	POST   /tasks/{id}/run  runs the agent on a prompt, and returns what it printed
//	DELETE /tasks/{id}      ends the task. May be repeated
type Tasks struct {
	Compute berth.ComputeProvider
	Agent   []string // the command; it gets the prompt on its standard input
}

// Register adds the handlers to a mux.
func (t *Tasks) Register(mux *http.ServeMux) {
	mux.HandleFunc("PUT /tasks/{id}", answer(t.put))
	mux.HandleFunc("POST /tasks/{id}/run", answer(t.run))
	mux.HandleFunc("DELETE /tasks/{id}", answer(t.delete))
}

// Task is what a client asks for. A real application takes the user from the request's credentials.
type Task struct {
	User       string `json:"user"`
	Repository string `json:"repository"`
	Branch     string `json:"branch"`
}

// Place is where a task runs.
type Place struct {
	Session   string          `json:"session"`
	Container string          `json:"container"`
	Start     berth.StartKind `json:"start"` // cold, warm or attached
}

// Result is what a run of the agent gave.
type Result struct {
	ExitCode int    `json:"exitCode"`
	Output   string `json:"output"`
}

// put gives the task its place. If the client goes away meanwhile, the request's context ends and nothing is left.
func (t *Tasks) put(r *http.Request) (any, error) {
	var task Task
	if err := json.NewDecoder(r.Body).Decode(&task); err != nil {
		return nil, &berth.FieldError{Field: "body", Reason: err.Error()}
	}
	s, err := t.Compute.CreateSession(r.Context(), berth.SessionRequest{
		TaskID: r.PathValue("id"), UserID: task.User, Repository: task.Repository, Branch: task.Branch,
	})
	if err != nil {
		return nil, err
	}
	info := s.Info()
	return Place{Session: info.ID, Container: info.Container.Name, Start: info.Start}, nil
}

// run runs the agent. If the client goes away, the agent is killed with all that it started; the task stays.
func (t *Tasks) run(r *http.Request) (any, error) {
	s, err := t.find(r)
	if err != nil {
		return nil, err
	}
	cmd := s.Command(r.Context(), t.Agent[0], t.Agent[1:]...)
	cmd.Stdin = r.Body
	out, err := cmd.CombinedOutput()
	if _, exited := errors.AsType[*berth.ExitError](err); err != nil && !exited {
		return nil, err
	}
	return Result{ExitCode: cmd.ExitCode, Output: string(out)}, nil
}

// delete ends the task. One that has no session is ended already.
func (t *Tasks) delete(r *http.Request) (any, error) {
	s, err := t.find(r)
	if errors.Is(err, berth.ErrSessionNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, t.Compute.TerminateSession(r.Context(), s.ID())
}

// find returns the session of the request's task. There is at most one.
func (t *Tasks) find(r *http.Request) (*berth.Session, error) {
	for s, err := range t.Compute.ListSessions(r.Context(), berth.SessionFilter{TaskID: r.PathValue("id")}) {
		return s, err
	}
	return nil, berth.ErrSessionNotFound
}

// answer makes an http handler: what do returns is sent as JSON, an error as its status and text. Neither berth's nor
// git's messages hold a credential.
func answer(do func(*http.Request) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		value, err := do(r)
		switch {
		case err != nil:
			code := status(err)
			if code == http.StatusServiceUnavailable {
				w.Header().Set("Retry-After", "30")
			}
			http.Error(w, strings.TrimSpace(err.Error()), code)
		case value == nil:
			w.WriteHeader(http.StatusNoContent)
		default:
			w.Header().Set("Content-Type", "application/json")
			json.NewEncoder(w).Encode(value)
		}
	}
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
		return http.StatusBadGateway // PUT the task again: it gets a new place
	case is(berth.ErrNoCapacity), is(berth.ErrClosed):
		return http.StatusServiceUnavailable // later
	case start:
		return http.StatusUnprocessableEntity // git's own message: no such repository or branch, no access
	}
	return http.StatusInternalServerError
}
