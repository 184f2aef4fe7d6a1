package main

import (
	"cmp"
	"encoding/json"
	"errors"
	"io"
	"net/http"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/work"
)

// diff sends what a task has that its remote does not have, as a patch for git am or git apply.
func (a *app) diff(w http.ResponseWriter, r *http.Request) {
	s, err := a.find(r)
	if err != nil {
		refuse(w, err)
		return
	}
	patch, err := s.Patch(r.Context())
	if err != nil {
		refuse(w, err)
		return
	}
	defer patch.Close()
	first := make([]byte, 32<<10)
	n, err := patch.Read(first)
	if err != nil && err != io.EOF {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/x-diff; charset=utf-8")
	_, err = w.Write(first[:n])
	if err == nil {
		_, err = io.Copy(w, patch)
	}
	if err != nil {
		panic(http.ErrAbortHandler) // the client has left, or must see that the patch is not whole
	}
}

// push commits and pushes what a task has changed, and returns the commit.
func (a *app) push(r *http.Request) (any, error) {
	var want struct{ Branch, Message string }
	if err := json.NewDecoder(r.Body).Decode(&want); err != nil {
		return nil, &berth.FieldError{Field: "body", Reason: err.Error()}
	}
	want.Branch = cmp.Or(want.Branch, "agent/"+r.PathValue("id"))
	if err := naming.ValidateBranch(want.Branch); err != nil {
		return nil, &berth.FieldError{Field: "branch", Reason: err.Error()}
	}
	s, err := a.find(r)
	if err != nil {
		return nil, err
	}
	_, err = s.Commit(r.Context(), work.CommitOptions{Message: cmp.Or(want.Message, "Work of task "+r.PathValue("id"))})
	if err != nil && !errors.Is(err, work.ErrNoChanges) {
		return nil, err
	}
	pushed, err := s.Push(r.Context(), work.PushOptions{Branch: want.Branch})
	if err != nil {
		return nil, err
	}
	return map[string]string{"branch": pushed.Branch, "commit": pushed.Commit}, nil
}
