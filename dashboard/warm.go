package dashboard

import (
	"net/http"
	"strconv"
	"time"
)

// repositoryVerbs are the actions on a repository, by the last element of their path. ?name= is the repository.
var repositoryVerbs = map[string]Verb{"warm": KeepWarm, "cool": StopWarm}

// The hours for which a repository is kept warm.
const (
	proposedHours = 8
	mostHours     = 30 * 24
)

// warmth describes an action on the warmth of a repository. ok is false if the viewer sees no such repository, or asks for a time that is
// none. The caller holds the model.
func warmth(a *Action, sc scope, r *http.Request) (v confirmView, ok bool) {
	name := r.FormValue("name")
	for _, repo := range sc.visible() {
		if repo.text != name {
			continue
		}
		a.Repository = repo.name
		v = confirmView{What: name, Back: href("repository", "name", name), Name: name, remote: repo.remote()}
		if a.Verb == StopWarm {
			v.Question, v.Button = "Keep this repository warm no longer?", "Keep it warm no longer"
			v.Effect = "Its container goes when no task needs it, unless the planner expects some. Its tasks go on."
			return v, true
		}
		v.Question, v.Button, v.Hours = "Keep this repository warm?", "Keep it warm", proposedHours
		v.Effect = "A container of it is up without tasks, with a fresh mirror, as far as Config.Warm allows. The next task then starts in " +
			"milliseconds. It takes the room of one slot while no task needs that."
		if r.Method == http.MethodPost {
			hours, err := strconv.Atoi(r.PostFormValue("hours"))
			a.For = time.Duration(hours) * time.Hour
			return v, err == nil && hours > 0 && hours <= mostHours
		}
		return v, true
	}
	return confirmView{}, false
}

// remote is a URL of the repository that a container or a task has fetched from. It holds no credential. Another one may fetch with a
// credential that this process does not have.
func (r *repo) remote() string {
	for _, c := range r.containers {
		if c.Remote != "" {
			return c.Remote
		}
	}
	for _, t := range r.tasks {
		if t.Remote != "" {
			return t.Remote
		}
	}
	return "https://" + r.text
}
