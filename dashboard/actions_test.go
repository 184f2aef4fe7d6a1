package dashboard_test

import (
	"errors"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// post submits a form as a browser does, from a page of the site.
func (s *site) post(path string, form url.Values, change ...func(*http.Request)) (*http.Response, string) {
	s.t.Helper()
	return s.do(http.MethodPost, path, strings.NewReader(form.Encode()), append([]func(*http.Request){func(r *http.Request) {
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Sec-Fetch-Site", "same-origin")
	}}, change...)...)
}

func allowAll(*http.Request, dashboard.Action) error { return nil }

func TestActionsAreOffByDefault(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	session := s.create("task-1", "ann", repoA)
	instance := session.Info().Instance.ID
	for _, path := range []string{"tasks/" + session.ID() + "/end", "instances/" + instance + "/drain", "instances/" + instance + "/cordon"} {
		if resp, _ := s.do(http.MethodGet, path, nil); resp.StatusCode != http.StatusForbidden {
			t.Errorf("GET %s: %s", path, resp.Status)
		}
		if resp, _ := s.post(path, nil); resp.StatusCode != http.StatusForbidden {
			t.Errorf("POST %s: %s", path, resp.Status)
		}
	}
	for _, path := range []string{"tasks/" + session.ID(), "instances"} {
		if body := s.get(path); strings.Contains(body, "/end") || strings.Contains(body, "/drain") {
			t.Errorf("%s offers an action", path)
		}
	}
	if _, err := s.SessionByTask(t.Context(), "task-1"); err != nil {
		t.Error(err)
	}
}

func TestEndTask(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{Authorize: func(r *http.Request, a dashboard.Action) error {
		if a.Verb != dashboard.EndTask || a.Task.UserID != r.Header.Get("User") {
			return errors.New("only its user may end <it>")
		}
		return nil
	}})
	session := s.create("task-1", "ann", repoA, label("a", "b"))
	path := "tasks/" + session.ID() + "/end"
	contains(t, "the task", s.get("tasks/"+session.ID()), path[len("tasks/"):])
	for name, resp := range map[string]func() (*http.Response, string){
		"GET":  func() (*http.Response, string) { return s.do(http.MethodGet, path, nil, user("bob")) },
		"POST": func() (*http.Response, string) { return s.post(path, nil, user("bob")) },
	} {
		resp, body := resp()
		if resp.StatusCode != http.StatusForbidden || !strings.Contains(body, "only its user may end &lt;it&gt;") {
			t.Errorf("%s by another user: %s\n%s", name, resp.Status, body)
		}
	}
	contains(t, "the question", s.get(path, user("ann")), "End this task?", "task-1", `method="post"`)
	if _, err := s.SessionByTask(t.Context(), "task-1"); err != nil {
		t.Fatalf("to look at the question has ended the task: %v", err)
	}
	resp, body := s.post(path, nil, user("ann"))
	if resp.StatusCode != http.StatusSeeOther || resp.Header.Get("Location") != "../../tasks/"+session.ID() {
		t.Errorf("%s %s\n%s", resp.Status, resp.Header.Get("Location"), body)
	}
	if _, err := s.SessionByTask(t.Context(), "task-1"); !errors.Is(err, berth.ErrSessionNotFound) {
		t.Errorf("the task goes on: %v", err)
	}
	if resp, _ := s.post("tasks/s-none/end", nil, user("ann")); resp.StatusCode != http.StatusNotFound {
		t.Errorf("an unknown task: %s", resp.Status)
	}
}

func TestCordonUncordonDrain(t *testing.T) {
	var asked []dashboard.Action
	s := open(t, berth.Config{MaxInstances: 1}, dashboard.Options{Authorize: func(_ *http.Request, a dashboard.Action) error {
		asked = append(asked, a)
		return nil
	}})
	session := s.create("task-1", "ann", repoA)
	id := session.Info().Instance.ID
	act := func(verb string, form url.Values, code int) {
		t.Helper()
		if resp, body := s.post("instances/"+id+"/"+verb, form); resp.StatusCode != code {
			t.Fatalf("%s: %s\n%s", verb, resp.Status, body)
		}
	}
	state := func() *store.Instance {
		t.Helper()
		in, err := store.Read[*store.Instance](t.Context(), s.store, store.InstanceKey(id))
		if err != nil || in == nil {
			t.Fatal(in, err)
		}
		return in
	}
	contains(t, "the question", s.get("instances/"+id+"/cordon"), "Cordon this instance?", id, `name="reason"`)
	act("uncordon", nil, http.StatusSeeOther) // it takes sessions
	act("cordon", url.Values{"reason": {"disk\r\nfull"}}, http.StatusSeeOther)
	if in := state(); pool.HasSlot(in) || in.WishReason != "an operator: disk; full" {
		t.Errorf("%+v", in)
	}
	s.shows("instances", "an operator: disk; full", false)
	s.shows("instances", "/uncordon", false)
	act("uncordon", nil, http.StatusSeeOther)
	s.shows("instances", "/cordon", false)
	s.shows("instances", `data-state="ready"`, false)
	act("drain", nil, http.StatusSeeOther)
	if in := state(); pool.HasSlot(in) {
		t.Errorf("%+v", in)
	}
	s.shows("instances", "It ends after its 1 task", false)
	act("uncordon", nil, http.StatusConflict)
	if len(asked) == 0 || asked[0].Verb != dashboard.CordonInstance || asked[0].Instance != id || asked[0].Task.SessionID != "" {
		t.Errorf("Authorize was asked %+v", asked)
	}
}

func TestOtherSitesCannotAct(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{Authorize: allowAll})
	session := s.create("task-1", "ann", repoA)
	path := "tasks/" + session.ID() + "/end"
	for name, change := range map[string]func(*http.Request){
		"another site":         func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") },
		"a sibling domain":     func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") },
		"an old browser there": func(r *http.Request) { r.Header.Del("Sec-Fetch-Site"); r.Header.Set("Origin", "https://evil.example") },
	} {
		if resp, _ := s.post(path, nil, change); resp.StatusCode != http.StatusForbidden {
			t.Errorf("a POST from %s: %s", name, resp.Status)
		}
	}
	if resp, _ := s.do(http.MethodDelete, path, nil); resp.StatusCode < 400 {
		t.Errorf("DELETE: %s", resp.Status)
	}
	if _, err := s.SessionByTask(t.Context(), "task-1"); err != nil {
		t.Error(err)
	}
}

// mine shows a viewer the viewer's own tasks.
func mine(r *http.Request) func(dashboard.Task) bool {
	name := r.Header.Get("User")
	if name == "admin" {
		return nil
	}
	return func(t dashboard.Task) bool { return t.UserID == name }
}

func TestVisibleNarrowsEverything(t *testing.T) {
	s := open(t, berth.Config{MaxTasksPerInstance: 2, MaxInstances: 1}, dashboard.Options{Visible: mine, Authorize: allowAll})
	anns := s.create("ann-task", "ann", repoA, label("secret", "ann-label"))
	bobs := s.create("b.bob-task", "b.bob", repoB)
	s.wait("b.bob-waits", "b.bob", repoB)
	s.wait("ann-waits", "ann", repoA)
	ended := time.Now()
	s.put(&store.Session{ID: "s-0bob", TaskID: "b.bob-ended", UserID: "b.bob", SharingKey: naming.Key{Repository: bobs.Info().Repository}, State: store.SessionEnded,
		CreatedAt: ended, EndedAt: ended, End: store.Failure{Reason: store.EndStartFailed, Message: "b.bob-failure"}})
	asAdmin := func(path string) string { return s.get(path, user("admin")) }
	for deadline := time.Now().Add(time.Minute); !strings.Contains(asAdmin("queue"), "ann-waits") || !strings.Contains(asAdmin("queue"), "b.bob-waits"); {
		if time.Now().After(deadline) {
			t.Fatal(asAdmin("queue"))
		}
		time.Sleep(20 * time.Millisecond)
	}
	contains(t, "the admin's events", asAdmin("events"), "b.bob-ended", "b.bob-failure", "ann-task")
	paths := []string{"", "tasks?state=all", "tasks/" + anns.ID(), "instances", "queue", "events", "usage", "repository?name=git.example%2Fteam%2Falpha",
		"api/repositories", "api/tasks?state=all", "api/tasks/" + anns.ID(), "api/instances", "api/queue", "api/events", "api/usage", "api/"}
	for _, path := range paths { // a random ID may have "bob" in it, but no "."
		body := s.get(path, user("ann"))
		for _, other := range []string{"b.bob", "beta"} {
			if strings.Contains(body, other) {
				t.Errorf("ann sees %q at %s:\n%s", other, path, body)
			}
		}
	}
	contains(t, "ann's list", s.get("", user("ann")), "ann-task", "team/alpha", "You see your own tasks")
	contains(t, "ann's queue", s.get("queue", user("ann")), "ann-waits")
	contains(t, "ann's usage", s.get("usage", user("ann")), "not shown")
	for _, path := range []string{"tasks/" + bobs.ID(), "api/tasks/" + bobs.ID(), "repository?name=git.example%2Fteam%2Fbeta", "tasks/" + bobs.ID() + "/end"} {
		if resp, body := s.do(http.MethodGet, path, nil, user("ann")); resp.StatusCode != http.StatusNotFound {
			t.Errorf("ann gets %s: %s\n%s", path, resp.Status, body)
		}
	}
	if resp, _ := s.post("tasks/"+bobs.ID()+"/end", nil, user("ann")); resp.StatusCode != http.StatusNotFound {
		t.Errorf("ann ends bob's task: %s", resp.Status)
	}
	if body := s.get("", user("b.bob")); strings.Contains(body, "ann") { // right after ann's
		t.Errorf("b.bob sees ann's page:\n%s", body)
	}
}
