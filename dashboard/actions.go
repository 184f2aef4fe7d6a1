package dashboard

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/pool"
)

// instanceVerbs are the actions on an instance, by the last element of their path.
var instanceVerbs = map[string]Verb{"cordon": CordonInstance, "uncordon": UncordonInstance, "drain": DrainInstance}

// confirmView asks the viewer whether to act.
type confirmView struct {
	Question string
	What     string // the task ID or the launch ID
	Effect   string // what will happen
	Button   string
	Back     string // URL of the page before, relative to the prefix
	Reason   bool   // the viewer may give one
	Hours    int    // the viewer says for how many it lasts: what is proposed; 0 = it does not end
	Name     string // of the repository, which the form sends; "" = the path has all
	remote   string // of the repository
}

// actTimeout is how long an action may take before its page is answered: it goes on after that.
const actTimeout = 10 * time.Second

// find returns the action that a request asks for, and how it is asked for. ok is false if there is no such task or instance.
func (s *server) find(r *http.Request, verb Verb) (a Action, v confirmView, ok bool, err error) {
	if err := s.model.ensure(r.Context()); err != nil {
		return a, v, false, err
	}
	id, sees := r.PathValue("id"), s.sees(r)
	a.Verb = verb
	s.model.look(func(st *state) {
		sc := scope{st, sees}
		if verb == KeepWarm || verb == StopWarm {
			v, ok = warmth(&a, sc, r)
			return
		}
		if verb == EndTask {
			t := sc.tasks[id]
			if t == nil || !sc.see(t) {
				return
			}
			a.Task, ok = t.public(), true
			v = confirmView{
				Question: "End this task?", What: t.TaskID, Button: "End the task", Back: "tasks/" + id,
				Effect: "Its commands are killed and its checkout is removed, with what was not pushed. Others in the container go on.",
			}
			return
		}
		in := sc.instances[id]
		if in == nil {
			return
		}
		a.Instance, ok = id, true
		v = confirmView{What: id, Back: href("instances", "q", id), Reason: verb != UncordonInstance}
		switch verb {
		case CordonInstance:
			v.Question, v.Button = "Cordon this instance?", "Cordon the instance"
			v.Effect = "No new task comes to it until it is uncordoned. Its " + plural(in.Sessions, "task") + " go on, and it stays when they have ended."
		case DrainInstance:
			v.Question, v.Button = "Drain this instance?", "Drain the instance"
			v.Effect = "No new task comes to it, for good. It ends when its " + plural(in.Sessions, "task") + " have ended, and is replaced if it is needed."
		case UncordonInstance:
			v.Question, v.Button = "Uncordon this instance?", "Uncordon the instance"
			v.Effect = "New tasks come to it again."
		}
	})
	return a, v, ok, nil
}

// confirm serves the page that asks before an action.
func (s *server) confirm(verb Verb) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		if _, v, ok := s.allowed(w, r, verb); ok {
			s.ask(w, r, http.StatusOK, v)
		}
	}
}

// ask writes the page that asks before an action.
func (s *server) ask(w http.ResponseWriter, r *http.Request, code int, v confirmView) {
	sh := &shown{Title: v.Question, Base: base(r), View: v, Now: time.Now(), Path: strings.TrimPrefix(r.URL.EscapedPath(), "/")}
	sh.Status.Pool = s.console.Pool()
	body, err := s.render("confirm", sh)
	if err != nil {
		http.Error(w, err.Error(), http.StatusInternalServerError)
		return
	}
	writeHTML(w, code, body)
}

// allowed finds the action of a request, and asks whether its viewer may do that. It answers the request if there is no such action, or
// if the viewer may not.
func (s *server) allowed(w http.ResponseWriter, r *http.Request, verb Verb) (a Action, v confirmView, ok bool) {
	if s.opts.Authorize == nil {
		s.fail(w, r, http.StatusForbidden, "Nothing can be done here", "Actions are off: Options.Authorize is not set.")
		return a, v, false
	}
	a, v, ok, err := s.find(r, verb)
	switch {
	case err != nil:
		s.fail(w, r, statusOf(err), "This page cannot be shown now", err.Error())
		return a, v, false
	case !ok:
		s.fail(w, r, http.StatusNotFound, "There is no such thing", "It has ended, or is not yours to see.")
		return a, v, false
	}
	if err := s.opts.Authorize(r, a); err != nil {
		s.fail(w, r, http.StatusForbidden, "You may not "+string(verb), err.Error())
		return a, v, false
	}
	return a, v, true
}

// mostReason bounds the reason that a viewer gives.
const mostReason = 500

// act does what a viewer has confirmed.
func (s *server) act(verb Verb) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(w, r.Body, 1<<16)
		a, v, ok := s.allowed(w, r, verb)
		if !ok {
			return
		}
		// A viewer that leaves does not undo it.
		ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), actTimeout)
		defer cancel()
		err := s.do(ctx, a, v, line(strings.TrimSpace(r.PostFormValue("reason")), mostReason))
		switch {
		case err == nil, ctx.Err() != nil && verb == EndTask: // the work goes on
			w.Header().Set("Location", base(r)+v.Back)
			w.WriteHeader(http.StatusSeeOther)
		case errors.Is(err, pool.ErrState), errors.Is(err, berth.ErrSessionNotFound), errors.Is(err, berth.ErrInvalid):
			s.fail(w, r, http.StatusConflict, "That cannot be done now", err.Error())
		default:
			s.fail(w, r, statusOf(err), "That has failed", err.Error())
		}
	}
}

func (s *server) do(ctx context.Context, a Action, v confirmView, reason string) error {
	if reason == "" {
		reason = "an operator"
	} else {
		reason = "an operator: " + reason
	}
	switch a.Verb {
	case EndTask:
		return s.p.TerminateSession(ctx, a.Task.SessionID)
	case CordonInstance:
		return s.console.Cordon(ctx, a.Instance, reason)
	case DrainInstance:
		return s.console.Drain(ctx, a.Instance, reason)
	case UncordonInstance:
		return s.console.Uncordon(ctx, a.Instance)
	case KeepWarm:
		return s.p.Warm(ctx, v.remote, "", time.Now().Add(a.For))
	case StopWarm:
		return s.p.Cool(ctx, v.remote, "")
	}
	return errors.New("unknown action")
}
