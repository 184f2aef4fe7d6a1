package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"os"
	"strings"
	"syscall"
	"time"

	"github.com/berth-go/berth"
)

// request is what a client asks for.
type request struct {
	Repository string            `json:"repository"`
	Branch     string            `json:"branch,omitempty"`
	Prompt     string            `json:"prompt"`
	Labels     map[string]string `json:"labels,omitempty"`
}

// task is a task as clients see it.
type task struct {
	ID         string             `json:"id"`
	Repository string             `json:"repository"`
	Branch     string             `json:"branch"`
	State      berth.SessionState `json:"state"`
	Start      berth.StartKind    `json:"start,omitempty"` // cold, warm or attached
	Labels     map[string]string  `json:"labels,omitempty"`
	Created    time.Time          `json:"created"`
	Agent      *agentState        `json:"agent,omitempty"`
}

// agentState is how the agent of a task is.
type agentState struct {
	State    string    `json:"state"` // running or ended
	Started  time.Time `json:"started"`
	Ended    time.Time `json:"ended,omitzero"`
	ExitCode int       `json:"exitCode"` // -1 = it runs, or a signal has ended it
	Bytes    int64     `json:"bytes"`    // of output
}

// maxPrompt is in bytes: the kernel gives a process at most 128 KiB in one string.
const maxPrompt = 100 << 10

// taskID returns the TaskID of a task. Each user has names of its own: no user meets a name, or an error about one, of another.
func taskID(u user, id string) string { return u.Name + ":" + id }

// describe returns a task as clients see it.
func describe(s *berth.Session) *task {
	info := s.Info()
	_, id, _ := strings.Cut(info.TaskID, ":")
	return &task{
		ID: id, Repository: info.Repository.String(), Branch: info.Branch, State: info.State, Start: info.Start, Labels: info.Labels,
		Created: info.CreatedAt,
	}
}

// put creates a task and starts its agent, once, however often it is called and by however many processes. If the client leaves before
// there is a session, nothing is left of the task.
func (a *app) put(r *http.Request) (any, error) {
	var want request
	if err := json.NewDecoder(r.Body).Decode(&want); err != nil {
		return nil, &berth.FieldError{Field: "body", Reason: err.Error()}
	}
	if len(want.Prompt) > maxPrompt || strings.ContainsRune(want.Prompt, 0) {
		return nil, &berth.FieldError{Field: "prompt", Reason: "must have at most 100 KiB, and no NUL"}
	}
	u := userOf(r)
	s, err := a.provider.CreateSession(r.Context(), berth.SessionRequest{
		TaskID: taskID(u, r.PathValue("id")), UserID: u.Name, Repository: want.Repository, Branch: want.Branch, Labels: want.Labels,
	})
	if err != nil {
		return nil, err
	}
	run, err := a.begin(r.Context(), s, want.Prompt)
	if err != nil {
		return nil, err
	}
	t := describe(s)
	t.Agent = stateOf(run)
	return t, nil
}

// find returns the session of the request's task, whichever process has made it.
func (a *app) find(r *http.Request) (*berth.Session, error) {
	return a.provider.SessionByTask(r.Context(), taskID(userOf(r), r.PathValue("id")))
}

func (a *app) get(r *http.Request) (any, error) {
	s, err := a.find(r)
	if err != nil {
		return nil, err
	}
	t := describe(s)
	switch run, err := a.run(r.Context(), s); {
	case err == nil:
		t.Agent = stateOf(run)
	case !errors.Is(err, errNoAgent) && !errors.Is(err, berth.ErrSessionStarting):
		return nil, err
	}
	return t, nil
}

func (a *app) tasksOf(r *http.Request) ([]*task, error) {
	tasks := []*task{}
	for s, err := range a.provider.ListSessions(r.Context(), berth.SessionFilter{UserID: userOf(r).Name}) {
		if err != nil {
			return nil, err
		}
		tasks = append(tasks, describe(s))
	}
	return tasks, nil
}

func (a *app) list(r *http.Request) (any, error) { return a.tasksOf(r) }

// end ends a task. A task without a session has ended already.
func (a *app) end(r *http.Request) (any, error) {
	s, err := a.find(r)
	if errors.Is(err, berth.ErrSessionNotFound) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	return nil, a.provider.TerminateSession(r.Context(), s.ID())
}

// cancelGrace is how long an agent may take to end by itself when it is cancelled.
const cancelGrace = 10 * time.Second

// cancel ends the agent, as Ctrl-C at a terminal and a kill later would, and waits for its end. The checkout stays.
func (a *app) cancel(r *http.Request) (any, error) {
	s, err := a.find(r)
	if err != nil {
		return nil, err
	}
	run, err := a.run(r.Context(), s)
	if err != nil {
		return nil, err
	}
	cmd, err := s.Attach(r.Context(), run.ID)
	if err != nil {
		return nil, err
	}
	if err := cmd.Start(); err != nil {
		return nil, err
	}
	ended := make(chan error, 1)
	go func() { ended <- cmd.Wait() }() // returns when the agent has ended, or with the request
	if err := cmd.SignalGroup(syscall.SIGINT); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return nil, err
	}
	select {
	case <-ended:
		return nil, nil
	case <-r.Context().Done():
		return nil, context.Cause(r.Context())
	case <-time.After(cancelGrace):
	}
	if err := cmd.Kill(); err != nil {
		return nil, err
	}
	<-ended
	return nil, nil
}
