package session_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/admission"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/orchestrator"
)

func TestWrongCredentialFailsNobodyElse(t *testing.T) {
	const url = "git.example/org/private"
	engine := fake.EngineOptions{Repositories: map[string]fake.Repo{"https://" + url: {Password: "right"}}}
	world.Run(t, world.Setup{Engine: engine}, func(t *testing.T, w *world.World) {
		ctx := t.Context()
		w.Create("warm-up", "https://git.example/org/other") // an instance is there
		eve := world.Creating(ctx, w.Provider, world.Request("eve", "https://x:wrong@"+url))
		time.Sleep(200 * time.Millisecond)
		alice := world.Creating(ctx, w.Provider, world.Request("alice", "https://x:right@"+url))
		if r := <-eve; r.Err == nil {
			t.Error("a wrong credential was accepted")
		} else if failure, ok := errors.AsType[*berth.StartError](r.Err); !ok || failure.Phase != "fetching" {
			t.Errorf("the wrong credential gave %v", r.Err)
		}
		if r := <-alice; r.Err != nil {
			t.Errorf("with the right credential: %v", r.Err)
		}
	})
}

// TestFetchThatDoesNotEndIsGivenUp: not every transport notices that the remote is silent.
func TestFetchThatDoesNotEndIsGivenUp(t *testing.T) {
	world.Run(t, world.Setup{Config: berth.Config{FetchTimeout: 10 * time.Minute}}, func(t *testing.T, w *world.World) {
		w.Terminate(w.Create("before", world.RepoB)) // an instance is up
		w.Engine.Hang(fake.Fetch)
		begun := time.Now()
		_, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA))
		failure, ok := errors.AsType[*berth.StartError](err)
		if took := time.Since(begun); !ok || failure.Phase != "fetching" || took < 10*time.Minute || took > 11*time.Minute {
			t.Errorf("%v after %v", err, took)
		}
		w.Engine.Heal()
		world.After(time.Minute)
		w.Empty()
		w.Create("t", world.RepoA)
	})
}

// TestBranchTakesTagsAndCommits checks what a request's Branch may name, and that a repeated request must spell it the
// same way.
func TestBranchTakesTagsAndCommits(t *testing.T) {
	beside := strings.Repeat("0123456789", 4)
	repositories := map[string]fake.Repo{world.RepoA: {Tags: []string{"v1"}, Commits: []string{beside}}}
	for _, attached := range []bool{false, true} {
		world.Run(t, world.Setup{Engine: fake.EngineOptions{Repositories: repositories}}, func(t *testing.T, w *world.World) {
			if attached {
				w.Create("first", world.RepoA)
			}
			head := w.Engine.Heads(world.RepoA)["main"]
			for task, c := range map[string]struct{ branch, is string }{
				"branch": {"refs/heads/main", "main"}, "remote": {"origin/main", "main"}, "tag": {"v1", "v1"}, "full-tag": {"refs/tags/v1", "refs/tags/v1"},
				"commit": {head, head}, "beside": {beside, beside},
			} {
				r := world.Request(task, world.RepoA)
				r.Branch = c.branch
				s, err := w.CreateSession(t.Context(), r)
				if err != nil {
					t.Fatalf("%s: %v", task, err)
				}
				if got := s.Info().Branch; got != c.is {
					t.Errorf("%s: SessionInfo.Branch is %q", task, got)
				}
				if again, err := w.CreateSession(t.Context(), r); err != nil || again.ID() != s.ID() {
					t.Errorf("%s again: %v", task, err)
				}
				r.Branch = "main"
				if _, err := w.CreateSession(t.Context(), r); !errors.Is(err, berth.ErrTaskConflict) {
					t.Errorf("%s, with another name: %v", task, err)
				}
			}
			r := world.Request("none", world.RepoA)
			r.Branch = "refs/heads/nowhere"
			if _, err := w.CreateSession(t.Context(), r); !errors.Is(err, agent.ErrBranchNotFound) || strings.Count(err.Error(), "nowhere") != 1 {
				t.Errorf("a name that is not there: %v", err)
			}
		})
	}
}

func TestARemoteWithoutADefaultBranch(t *testing.T) {
	repositories := map[string]fake.Repo{world.RepoA: {Dangling: true, DefaultBranch: "gone", Branches: []string{"other"}}, world.RepoB: {Detached: true}}
	world.Run(t, world.Setup{Engine: fake.EngineOptions{Repositories: repositories}}, func(t *testing.T, w *world.World) {
		_, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA))
		if !errors.Is(err, agent.ErrBranchNotFound) || !strings.Contains(err.Error(), `"gone"`) || !strings.Contains(err.Error(), "SessionRequest.Branch") {
			t.Error(err)
		}
		r := world.Request("t", world.RepoA)
		r.Branch = "other"
		if s, err := w.CreateSession(t.Context(), r); err != nil || s.Info().Branch != "other" {
			t.Error(err)
		}
		if s := w.Create("detached", world.RepoB); s.Info().Branch != "" {
			t.Errorf("detached: %q", s.Info().Branch)
		}
	})
}

// TestOneFailureOfTheRemoteFailsNobody: the fetch is repeated before the creations that wait for it fail.
func TestOneFailureOfTheRemoteFailsNobody(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Engine.Flake(world.RepoA, 2, &agent.GitError{Op: "clone", Message: "fatal: unable to access 'x': The requested URL returned error: 503"})
		var waiting []<-chan world.Result
		for i := range 6 {
			waiting = append(waiting, world.Creating(t.Context(), w.Provider, world.Request(fmt.Sprint("t", i), world.RepoA)))
		}
		for _, c := range waiting {
			if r := <-c; r.Err != nil {
				t.Error(r.Err)
			}
		}
		w.Engine.Flake(world.RepoB, gitremote.MaxTries, &agent.GitError{Op: "clone", Message: "fatal: read error: Connection reset by peer"})
		if _, err := w.CreateSession(t.Context(), world.Request("flaky", world.RepoB)); err == nil || !strings.Contains(err.Error(), "reset by peer (tried 5 times)") {
			t.Errorf("a failure that may pass, but lasts: %v", err)
		}
		w.Engine.Flake(world.RepoB, 1, &agent.GitError{Op: "clone", Message: "fatal: Authentication failed for 'x'"})
		begun := time.Now()
		if _, err := w.CreateSession(t.Context(), world.Request("refused", world.RepoB)); err == nil || time.Since(begun) > 5*time.Second || strings.Contains(err.Error(), "tried") {
			t.Errorf("a failure that does not pass: %v after %v", err, time.Since(begun))
		}
	})
}

func TestSelfContainedBelongsToTheRequest(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		r := world.Request("t", world.RepoA)
		r.SelfContained = true
		s := world.Create(t, w.Provider, r)
		if again, err := w.CreateSession(t.Context(), r); err != nil || again.ID() != s.ID() {
			t.Errorf("the same request again: %v", err)
		}
		if _, err := w.CreateSession(t.Context(), world.Request("t", world.RepoA)); !errors.Is(err, berth.ErrTaskConflict) {
			t.Errorf("a request that is not SelfContained: %v", err)
		}
	})
}

// TestSubmodulesAndLFSBelongToTheRequest, and reach the container.
func TestSubmodulesAndLFSBelongToTheRequest(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		r := world.Request("t", world.RepoA)
		r.Submodules, r.LFS = true, true
		world.Create(t, w.Provider, r)
		for _, c := range w.Engine.Containers() {
			for _, in := range c.Sessions {
				if !in.Submodules || !in.LFS {
					t.Errorf("the session inside is %+v", in)
				}
			}
		}
		if _, err := w.CreateSession(t.Context(), r); err != nil {
			t.Errorf("the same request again: %v", err)
		}
		for _, change := range []func(){func() { r.LFS = false }, func() { r.LFS, r.Submodules = true, false }} {
			change()
			if _, err := w.CreateSession(t.Context(), r); !errors.Is(err, berth.ErrTaskConflict) {
				t.Errorf("another request: %v", err)
			}
		}
	})
}

// TestFetchErrorsSayWhatGitDoesNot: the error adds that a container is another machine, and has no keys.
func TestFetchErrorsSayWhatGitDoesNot(t *testing.T) {
	for _, c := range []struct{ url, git, want, not string }{
		{"http://localhost:3000/o/r", "fatal: unable to access 'http://localhost:3000/o/r/': Failed to connect to localhost port 3000: Connection refused", "localhost:3000 is the container itself", ""},
		{"http://127.0.0.1/o/r", "fatal: repository not found", "127.0.0.1 is the container itself", ""},
		{"http://[::1]:80/o/r", "Connection refused", "[::1] is the container itself", ""},
		{"git@github.com:o/r", "git@github.com: Permission denied (publickey).", "no ssh key", ""},
		{"ssh://git@git.example/o/r", "Host key verification failed.", "no ssh key", ""},
		{"git@github.com:o/r", "error: cannot run ssh: No such file or directory", "no ssh client", ""},
		{"https://git.example/o/r", "fatal: repository not found", "not found", "container"},
	} {
		allowed := berth.Config{Egress: orchestrator.Egress{Allow: []string{"127.0.0.0/8", "::1/128"}}}
		world.Run(t, world.Setup{Config: allowed}, func(t *testing.T, w *world.World) {
			w.Engine.Refuse(c.url, &agent.GitError{Op: "clone", Message: c.git})
			_, err := w.CreateSession(t.Context(), world.Request("t", c.url))
			if err == nil || !strings.Contains(err.Error(), c.git) || !strings.Contains(err.Error(), c.want) || c.not != "" && strings.Contains(err.Error(), c.not) {
				t.Errorf("%s: %v", c.url, err)
			}
			if denied := errors.Is(err, berth.ErrAccessDenied); denied != gitremote.Refused(c.git) {
				t.Errorf("%s: denied: %v: %v", c.url, denied, err)
			}
			if failed, ok := errors.AsType[*agent.GitError](err); !ok || !strings.HasPrefix(failed.Message, c.git) {
				t.Errorf("%s: git's own error is lost: %v", c.url, err)
			}
		})
	}
}

// TestEnvironmentOfAllSessionsAndFetches checks which variables take precedence, and that no value is written anywhere.
func TestEnvironmentOfAllSessionsAndFetches(t *testing.T) {
	const proxy = "http://ann:" + world.Secret + "@proxy.corp:3128"
	run := func(ctx context.Context, c fake.Command) int {
		io.WriteString(c.Stdout, c.Env["HTTPS_PROXY"]+" "+c.Env["TOKEN"])
		return 0
	}
	cfg := berth.Config{MirrorMaxAge: 1, Env: map[string]string{"HTTPS_PROXY": proxy, "TOKEN": world.Secret + " of all"}}
	world.Run(t, world.Setup{Config: cfg, Engine: fake.EngineOptions{Run: run}}, func(t *testing.T, w *world.World) {
		w.Engine.SetRepository(world.RepoA, fake.Repo{Proxy: proxy, Branches: []string{"next"}})
		first := w.Create("t1", world.RepoA)
		r := world.Request("t2", world.RepoA) // it is attached, and fetches again
		r.Env = map[string]string{"TOKEN": world.Secret + " of one"}
		second := world.Create(t, w.Provider, r)
		for s, want := range map[*berth.Session]string{first: proxy + " " + world.Secret + " of all", second: proxy + " " + world.Secret + " of one"} {
			if out, err := s.Command(t.Context(), "env").Output(); string(out) != want {
				t.Errorf("%s: %q, %v; want %q", s.Info().TaskID, out, err, want)
			}
		}
		w.NoSecret()
	})
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Engine.SetRepository(world.RepoA, fake.Repo{Proxy: proxy})
		_, err := w.CreateSession(t.Context(), world.Request("t1", world.RepoA))
		if failed, ok := errors.AsType[*berth.StartError](err); !ok || failed.Phase != "fetching" {
			t.Errorf("without the proxy: %v", err)
		}
	})
}

// TestContainerThatDiesInItsFetch: every task that waits for the container learns how it died, and not only the one whose
// credential fetches.
func TestContainerThatDiesInItsFetch(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		w.Terminate(w.Create("before", world.RepoB)) // an instance is up
		w.Engine.HangRemote(world.RepoA, true)
		var tasks []<-chan world.Result
		for i := range 3 {
			url := fmt.Sprintf("https://x:token%d@%s", i, strings.TrimPrefix(world.RepoA, "https://"))
			tasks = append(tasks, world.Creating(t.Context(), w.Provider, world.Request(fmt.Sprint("t", i), url)))
		}
		for range admission.Tries {
			world.After(10 * time.Second)
			for _, c := range w.ContainerRecords() {
				if !w.Engine.DieOutOfMemory(c.Name) {
					t.Fatal("there is no container")
				}
			}
		}
		for i, task := range tasks {
			r := <-task
			failure, ok := errors.AsType[*berth.StartError](r.Err)
			if !ok || failure.Phase != "fetching" || !errors.Is(r.Err, berth.ErrContainerLost) || !errors.Is(r.Err, berth.ErrOutOfMemory) {
				t.Errorf("task %d: %v", i, r.Err)
			}
		}
		w.Engine.Heal()
		world.After(time.Minute)
		w.Empty()
	})
}
