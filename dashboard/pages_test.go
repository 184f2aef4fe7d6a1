package dashboard_test

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
)

func TestEveryPageShowsThePool(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	one := s.create("task-1", "ann", repoA, label("ticket", "B-7"))
	s.create("task-2", "bob", repoA)
	ended := s.create("task-3", "cid", repoB)
	if err := s.TerminateSession(t.Context(), ended.ID()); err != nil {
		t.Fatal(err)
	}
	instance, container := one.Info().Instance.ID, one.Info().Container.Name
	for path, texts := range map[string][]string{
		"": {"<h1>Repositories</h1>", "git.example/team/alpha", "task-1", "task-2", "ann", container, "git.example/team/beta"},
		"repository?name=git.example%2Fteam%2Falpha": {"git.example/team/alpha", container, "task-1", "bob", instance},
		"tasks":                   {"task-1", "task-2", "ann", "alpha", "main", container, instance, "attached", "cold"},
		"tasks?state=ended":       {"task-3", "terminated"},
		"tasks/" + one.ID():       {"task-1", "ticket", "B-7", "cold start", "the repository was cloned", "active", one.Info().Workdir, "session active"},
		"tasks/" + ended.ID():     {"It ended: terminated."},
		"instances":               {instance, one.Info().Instance.CloudID, "ready", "<b>2</b> of 10", "task-1 of ann"},
		"queue":                   {"Nobody waits"},
		"events":                  {"session active", "session ended", "instance ready", "container ready", "task-3"},
		"usage":                   {"<h1>Usage</h1>", "Saved by sharing"},
		"usage?by=user&hours=168": {"7 days"},
	} {
		contains(t, path, s.get(path), texts...)
	}
	if body := s.get("tasks"); strings.Contains(body, "task-3") {
		t.Error("the list of tasks has one that has ended")
	}
}

func TestEmptyPagesSayWhatToDo(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	for path, text := range map[string]string{
		"": "CreateSession", "tasks": "CreateSession", "instances": "MinInstances", "queue": "Nobody waits", "usage": "Nothing is billed",
		"tasks?q=nothing": "No task matches", "events?q=nothing": "No event matches", "?q=nothing": "No repository matches",
	} {
		contains(t, path, s.get(path), text)
	}
	for _, path := range []string{"tasks/s-none", "repository?name=none", "nowhere"} {
		resp, body := s.do(http.MethodGet, path, nil)
		if resp.StatusCode != http.StatusNotFound || !strings.Contains(body, "There is no such") {
			t.Errorf("GET %s: %s\n%s", path, resp.Status, body)
		}
	}
}

func TestHeadersAreStrict(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	for _, path := range []string{"", "tasks", "api/tasks", "assets/app.js", "nowhere"} {
		resp, body := s.do(http.MethodGet, path, nil)
		policy := resp.Header.Get("Content-Security-Policy")
		for _, part := range []string{"default-src 'none'", "script-src 'self'", "style-src 'self'", "frame-ancestors 'none'", "base-uri 'none'"} {
			if !strings.Contains(policy, part) {
				t.Errorf("GET %s: the policy %q lacks %q", path, policy, part)
			}
		}
		if resp.Header.Get("X-Content-Type-Options") != "nosniff" {
			t.Errorf("GET %s: its type may be guessed", path)
		}
		for _, inline := range []string{" style=", "<style", " onclick=", "javascript:", "<script>"} {
			if strings.Contains(resp.Header.Get("Content-Type"), "html") && strings.Contains(body, inline) {
				t.Errorf("GET %s has %q, which the policy refuses", path, inline)
			}
		}
	}
}

func TestAnyPrefix(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	session := s.create("task-1", "ann", repoA)
	h := dashboard.Handler(s.Provider, dashboard.Options{})
	mux := http.NewServeMux()
	mux.Handle("/a/b/c/", http.StripPrefix("/a/b/c", h))
	mux.Handle("/bare", http.StripPrefix("/bare", h))
	s.server.Config.Handler = mux
	s.prefix = "/a/b/c/"
	contains(t, "tasks", s.get("tasks"), `href="./assets/app.css`, `href="./tasks/`+session.ID())
	contains(t, "a task", s.get("tasks/"+session.ID()), `href="../assets/app.css`, `href="../queue"`)
	s.prefix = "/"
	resp, _ := s.do(http.MethodGet, "bare?q=x", nil)
	if resp.StatusCode != http.StatusPermanentRedirect || resp.Header.Get("Location") != "./bare/?q=x" {
		t.Errorf("%s %s", resp.Status, resp.Header.Get("Location"))
	}
}

func TestSecondReplicaShowsTheSame(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	s.create("task-1", "ann", repoA)
	other, err := berth.New(t.Context(), berth.Config{Store: s.store, Cloud: s.cloud, Engine: s.engine, MaxInstances: 3})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { other.Close() })
	mux := http.NewServeMux()
	mux.Handle("/berth/", http.StripPrefix("/berth", dashboard.Handler(other, dashboard.Options{})))
	s.server.Config.Handler = mux
	contains(t, "the other one's page", s.get(""), "task-1", "ann", "alpha")
	s.create("task-2", "bob", repoB)
	s.shows("", "task-2", false)
}

func TestListsArePagedSortedAndFiltered(t *testing.T) {
	s := open(t, berth.Config{MaxTasksPerInstance: 200}, dashboard.Options{})
	for i := range 60 {
		name := "odd"
		if i%2 == 0 {
			name = "even"
		}
		s.create("task-"+string(rune('a'+i/26))+string(rune('a'+i%26)), name, repoA, label("n", name))
		if i == 0 {
			<-time.After(2 * time.Millisecond) // IDs of one millisecond are in no order
		}
	}
	var list struct {
		Page, Pages, Total int
		Tasks              []struct{ Task, User, State string }
	}
	s.data("tasks?page=2", &list)
	if list.Page != 2 || list.Pages != 2 || list.Total != 60 || len(list.Tasks) != 10 || list.Tasks[9].Task != "task-aa" {
		t.Errorf("%+v", list)
	}
	s.data("tasks?sort=created&limit=1000", &list)
	if len(list.Tasks) != 60 || list.Tasks[0].Task != "task-aa" {
		t.Errorf("%+v", list)
	}
	for query, want := range map[string]int{
		"user=odd": 30, "label=n%3Deven": 30, "label=n": 60, "label=m": 0, "q=TASK-C": 8, "branch=main": 60, "state=ended": 0, "state=all": 60,
		"repository=git.example%2Fteam%2Falpha&user=odd": 30, "repository=git.example%2Fteam%2Fbeta": 0, "state=active&q=odd": 30,
	} {
		s.data("tasks?"+query, &list)
		if list.Total != want {
			t.Errorf("tasks?%s: %d, want %d", query, list.Total, want)
		}
	}
	contains(t, "page 1", s.get("tasks"), "1–50 of 60", `rel="next"`, "page=2")
	s.create("task-b", "ann", repoB)
	s.shows("?sort=name", "beta", false)
	up, down := s.get("?sort=name"), s.get("?sort=-name")
	if strings.Index(up, "team/alpha") > strings.Index(up, "team/beta") || strings.Index(down, "team/alpha") < strings.Index(down, "team/beta") {
		t.Error("repositories are not sorted by name")
	}
	contains(t, "sorted", up, `aria-sort="ascending"`)
}
