package dashboard_test

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/dashboard"
	"github.com/berth-go/berth/fake"
)

// startCommands gives a task a command that runs, one that has succeeded and one that has failed.
func (s *site) startCommands(task string) {
	s.t.Helper()
	session, err := s.GetSession(context.Background(), s.sessionID(task))
	if err != nil {
		s.t.Fatal(err)
	}
	s.start(session, "/opt/tools/serve", "--token=hunter2", script+"\u202e", strings.Repeat("long ", 5000))
	for _, name := range []string{"true", "fails"} {
		_ = s.start(session, name).Wait() // one fails
	}
	for written := false; !written; time.Sleep(time.Millisecond) {
		for c, err := range session.Commands(context.Background()) {
			if err != nil {
				s.t.Fatal(err)
			}
			written = written || c.Stdout > 0
		}
	}
}

// commands are those of a task as the JSON has them.
type commands struct {
	Running, Ended []struct {
		Program      string
		Args         []string
		Args_cut     bool
		Exit_code    *int
		Stdout_bytes int64
		Took         float64
	}
	More int
	Note string
}

func (s *site) commands(id string, change ...func(*http.Request)) *commands {
	s.t.Helper()
	var task struct{ Commands *commands }
	s.data("tasks/"+id, &task, change...)
	return task.Commands
}

// TestTaskShowsItsCommands: by the names of the programs alone, as long as Options say nothing else.
func TestTaskShowsItsCommands(t *testing.T) {
	for _, arguments := range []bool{false, true} {
		s := open(t, berth.Config{}, dashboard.Options{ShowArguments: arguments})
		session := s.create("task-1", "ann", repoA)
		contains(t, "a task without commands", s.get("tasks/"+session.ID()+"?first"), "<h2>Commands</h2>", "None was started yet")
		s.startCommands("task-1")
		s.shows("tasks/"+session.ID(), "succeeded", false)
		page := s.get("tasks/" + session.ID())
		contains(t, "the task", page, "serve", "running", "exit code 3", "8 B", `data-again="5"`)
		c := s.commands(session.ID())
		if len(c.Running) != 1 || len(c.Ended) != 2 || c.Note != "" || c.More != 0 {
			t.Fatalf("%+v", c)
		}
		runs, failed := c.Running[0], c.Ended[0]
		if runs.Program != "serve" || runs.Exit_code != nil || runs.Stdout_bytes != 8 || failed.Program != "fails" || failed.Exit_code == nil || *failed.Exit_code != 3 {
			t.Errorf("%+v", c)
		}
		for _, harm := range []string{"<script>", "\u202e"} {
			if strings.Contains(page, harm) {
				t.Errorf("the page has %q", harm)
			}
		}
		if shown := strings.Contains(page, "hunter2"); shown != arguments || (len(runs.Args) == 4) != arguments || runs.Args_cut != arguments {
			t.Errorf("ShowArguments is %v; the page has them: %v, and the JSON %.100q", arguments, shown, runs.Args)
		}
		if len(page) > mostPage/10 {
			t.Errorf("the page has %d bytes", len(page))
		}
		if err := s.TerminateSession(t.Context(), session.ID()); err != nil {
			t.Fatal(err)
		}
		s.shows("tasks/"+session.ID(), "It ended", false)
		if page := s.get("tasks/" + session.ID()); strings.Contains(page, "<h2>Commands</h2>") || strings.Contains(page, "data-again") {
			t.Error("a task that has ended has commands")
		}
	}
}

// TestManyCommandsAreCut: a page and an answer have a bounded number.
func TestManyCommandsAreCut(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{ShowArguments: true})
	session := s.create("task-1", "ann", repoA)
	for range 120 {
		s.start(session, "serve", strings.Repeat("<&>", 1000))
	}
	s.shows("tasks/"+session.ID(), "And 70 others.", false)
	if n := len(s.get("tasks/" + session.ID())); n > mostPage {
		t.Errorf("the page has %d bytes", n)
	}
	var all struct{ Commands commands }
	s.data("tasks/"+session.ID()+"?limit=110", &all)
	if c := all.Commands; len(c.Running) != 110 || c.More != 10 {
		t.Errorf("%d commands and %d more", len(c.Running), c.More)
	}
}

// TestAgentThatDoesNotAnswer does not keep the page from being shown.
func TestAgentThatDoesNotAnswer(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{})
	session := s.create("task-1", "ann", repoA, label("ticket", "B-7"))
	s.start(session, "serve")
	s.engine.Hang(fake.Commands)
	contains(t, "the task", s.get("tasks/"+session.ID()), "B-7", "the agent of the container does not answer")
	if c := s.commands(session.ID()); c == nil || !strings.Contains(c.Note, "does not answer") || len(c.Running) != 0 {
		t.Errorf("%+v", c)
	}
	s.engine.Heal()
	s.shows("tasks/"+session.ID(), "running", false)
}

// TestCommandsOfOthers are neither shown to a viewer who does not see their task, nor asked for.
func TestCommandsOfOthers(t *testing.T) {
	s := open(t, berth.Config{}, dashboard.Options{ShowArguments: true, Visible: func(r *http.Request) func(dashboard.Task) bool {
		return func(t dashboard.Task) bool { return t.UserID == r.Header.Get("User") }
	}})
	session := s.create("task-1", "ann", repoA)
	s.start(session, "serve", "--token=hunter2")
	if c := s.commands(session.ID(), user("ann")); c == nil || len(c.Running) != 1 {
		t.Errorf("the user of the task sees %+v", c)
	}
	s.engine.Fail(fake.Commands, 1, errors.New("the first one who asks"))
	for _, path := range []string{"tasks/", "api/tasks/"} {
		resp, body := s.do(http.MethodGet, path+session.ID(), nil, user("bob"))
		if resp.StatusCode != http.StatusNotFound || strings.Contains(body, "hunter2") || strings.Contains(body, ">serve") {
			t.Fatalf("another user gets %s: %s", resp.Status, body)
		}
	}
	if c := s.commands(session.ID(), user("ann")); c == nil || !strings.Contains(c.Note, "the first one who asks") {
		t.Errorf("the agent was asked for another user: %+v", c)
	}
}

// browseCommands: a command shows, and its end, although nothing else changes in the pool.
func browseCommands(t *testing.T, browser context.Context) {
	s := open(t, berth.Config{}, dashboard.Options{})
	session := s.create("task-1", "ann", repoA)
	b := newTab(t, browser, s)
	b.open("tasks/" + session.ID())
	b.until(`document.body.innerText.includes("None was started yet")`)
	eval[any](b, `mark = document.querySelector("h1"); 0`)
	ctx, cancel := context.WithCancel(t.Context())
	cmd := session.Command(ctx, "serve")
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	state := func(word string) string {
		return `(document.querySelector("#c-` + cmd.ID() + ` .state") || {}).textContent === "` + word + `"`
	}
	b.until(state("running"))
	cancel()
	_ = cmd.Wait() // it was killed
	b.until(state("failed"))
	if !eval[bool](b, "mark.isConnected") {
		t.Error("the page was loaded again")
	}
}
