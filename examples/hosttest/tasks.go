// Package hosttest is an application that runs coding tasks for its users, reduced to its HTTP handler. It shows how to test
// such an application: its test runs the real Provider over fakes in virtual time, without Docker, git or AWS.
//
// A task is a session, and a run is one run of the agent in it. Runs go on in the background. A client that leaves ends
// nothing, every replica of the application sees every run, and a run outlives the process that started it. That needs a Store
// that outlives the process: sqlitestore or pgstore.
//
// Copy tasks.go, runs.go and status.go for the handler, tasks_test.go and shell_test.go for the test.
package hosttest

import (
	"encoding/json"
	"errors"
	"net/http"
	"sync"

	"github.com/berth-go/berth"
)

// Tasks serves the tasks of an application. It depends only on berth.ComputeProvider, and keeps no state: the sessions know their runs. A client names its
// task, and the TaskID finds the session again, also from another process over the same Store.
//
//	PUT    /tasks/{id}             creates the session of the task. May be repeated
//	DELETE /tasks/{id}             ends the task and its runs. May be repeated
//	PUT    /tasks/{id}/runs/{run}  runs the agent on the prompt in the body. May be repeated: it runs once
//	GET    /tasks/{id}/runs/{run}  sends its state and its output, from byte ?from=N on
//
// A session ends when nothing has run in it for Config.SessionIdleTimeout, and the output of its runs is removed with it. An
// application that needs the output for longer fetches it before.
type Tasks struct {
	Compute berth.ComputeProvider
	Agent   []string // the command; it gets the prompt on its standard input

	starting sync.Mutex // held while a run is looked for and started
}

// Register adds the handlers to a mux.
func (t *Tasks) Register(mux *http.ServeMux) {
	mux.HandleFunc("PUT /tasks/{id}", Answer(t.put))
	mux.HandleFunc("DELETE /tasks/{id}", Answer(t.delete))
	mux.HandleFunc("PUT /tasks/{id}/runs/{run}", Answer(t.start))
	mux.HandleFunc("GET /tasks/{id}/runs/{run}", t.look)
}

// Task is what a client asks for. A real application takes the user from the request's credentials.
type Task struct {
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

// PlaceOf returns the place of a session.
func PlaceOf(s *berth.Session) Place {
	info := s.Info()
	return Place{Task: info.TaskID, Session: info.ID, State: info.State, Start: info.Start, Container: info.Container.Name}
}

// put creates the session of a task. If the client disconnects meanwhile, the request's context ends and nothing is left. If this
// process dies, the next put of the same task, at any replica, waits until the first one is undone, and then begins again.
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
	return PlaceOf(s), nil
}

// delete ends the task. A task without a session has ended already.
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

// find returns the session of the request's task, whichever replica made it. There is at most one.
func (t *Tasks) find(r *http.Request) (*berth.Session, error) {
	for s, err := range t.Compute.ListSessions(r.Context(), berth.SessionFilter{TaskID: r.PathValue("id")}) {
		return s, err
	}
	return nil, berth.ErrSessionNotFound
}
