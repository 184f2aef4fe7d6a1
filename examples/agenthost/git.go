package main

import (
	"bytes"
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/naming"
)

// What this file does with git, it does by commands of the session. They are all of agenthost that knows git.

// diffScript prints what has changed since the agent began, with what it has committed and with new files.
const diffScript = `base=$(cat .git/agenthost/base 2>/dev/null) && [ -n "$base" ] || base=$(git hash-object -t tree /dev/null)
git add --all --intent-to-add . && exec git -c core.quotePath=off diff --binary --no-color --no-ext-diff "$base"`

// pushScript commits all that is not committed, with the message $MESSAGE, and pushes to the branch $BRANCH.
const pushScript = `git add --all . && { git diff --cached --quiet || git commit --quiet --message "$MESSAGE"; } &&
git push --quiet origin "HEAD:refs/heads/$BRANCH" && git rev-parse HEAD`

// git runs one of the scripts and returns what it prints.
func git(ctx context.Context, s *berth.Session, script string, env ...string) ([]byte, error) {
	cmd := s.Command(ctx, "sh", "-c", script)
	cmd.Env = append(env, "GIT_TERMINAL_PROMPT=0")
	out, err := cmd.Output()
	if exit, ok := errors.AsType[*berth.ExitError](err); ok && !errors.Is(err, berth.ErrOutputCut) {
		err = fmt.Errorf("%w: %s", errGit, cmp.Or(string(bytes.TrimSpace(exit.Stderr)), exit.Error()))
	}
	return out, err
}

// diff sends what a task has changed. The changes need not be committed.
func (a *app) diff(w http.ResponseWriter, r *http.Request) {
	s, err := a.find(r)
	if err != nil {
		refuse(w, err)
		return
	}
	patch, err := git(r.Context(), s, diffScript)
	if err != nil {
		refuse(w, err)
		return
	}
	w.Header().Set("Content-Type", "text/x-diff; charset=utf-8")
	_, _ = w.Write(patch) // the client has left
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
	out, err := git(r.Context(), s, pushScript, "BRANCH="+want.Branch, "MESSAGE="+cmp.Or(want.Message, "Work of task "+r.PathValue("id")))
	if err != nil {
		return nil, err
	}
	return map[string]string{"branch": want.Branch, "commit": strings.TrimSpace(string(out))}, nil
}
