package agent_test

import (
	"context"
	"errors"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

// asking opens a session whose gits ask for credentials.
func (r *ready) asking(t *testing.T, id string, uid int) agent.Checkout {
	t.Helper()
	co, err := r.Open(testContext(t), agent.Session{
		ID: id, UID: uid, Dir: "small", URL: r.url, Author: agent.Author{Name: "Ann", Email: "ann@example.com"}, Proven: true, Credentials: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	return co
}

// answering answers questions by a client, with what fn returns, until the test ends. asked returns the questions.
func answering(t *testing.T, c *agent.Client, fn func(agent.Question) agent.Answer) (asked func() []agent.Question) {
	ctx, cancel := context.WithCancel(context.Background())
	var mu sync.Mutex
	var all []agent.Question
	var running sync.WaitGroup
	running.Go(func() {
		for seen := uint64(0); ctx.Err() == nil; {
			some, err := c.Questions(ctx, seen)
			if err != nil && ctx.Err() == nil && !errors.Is(err, agent.ErrClosed) {
				t.Errorf("Questions: %v", err)
				return
			}
			for _, q := range some {
				seen = q.Number
				mu.Lock()
				all = append(all, q)
				mu.Unlock()
				if err := c.AnswerQuestion(ctx, q.ID, fn(q)); err != nil && ctx.Err() == nil {
					t.Errorf("AnswerQuestion: %v", err)
				}
			}
		}
	})
	t.Cleanup(func() { cancel(); running.Wait() })
	return func() []agent.Question {
		mu.Lock()
		defer mu.Unlock()
		return append([]agent.Question(nil), all...)
	}
}

// privately returns an agent with the mirror of a remote that wants the password "right".
func privately(t *testing.T) *ready {
	t.Helper()
	r := private(t)
	r.fetch(t, agent.Fetch{Username: "me", Password: "right", Prove: true})
	return r
}

// TestGitAsksForACredential: each time, and nothing of the answer is kept.
func TestGitAsksForACredential(t *testing.T) {
	r := privately(t)
	var mu sync.Mutex
	password := "right"
	set := func(to string) { mu.Lock(); password = to; mu.Unlock() }
	asked := answering(t, r.Client, func(q agent.Question) agent.Answer {
		mu.Lock()
		defer mu.Unlock()
		switch {
		case strings.Contains(q.URL, "other.example"):
			return agent.Answer{Refusal: "not this one"}
		case strings.Contains(q.URL, "none.example"):
			return agent.Answer{}
		}
		return agent.Answer{Username: "me", Password: password}
	})
	co := r.asking(t, "s", 10001)
	out, exit := r.run(t, "s", `set -e
		git fetch -q; echo more >>README.md; git commit -qam "by $USER"; git push -q origin main 2>&1; git push -q origin main:other 2>&1; echo fine`)
	if exit.Code != 0 || out != "fine\n" {
		t.Fatalf("%+v\n%s", exit, out)
	}
	if got := r.git.Git("small", "log", "-1", "--format=%s", "other"); got != "by berth10001" {
		t.Errorf("the push did not arrive: %s", got)
	}
	all := asked()
	if len(all) != 3 || all[0].Push || !all[1].Push || !all[2].Push || all[0].URL != r.url || all[0].Session != "s" || all[2].Rejected {
		t.Errorf("asked %+v", all)
	}
	// The token expires, and the remote refuses it: the next question says so, and gets a fresh one.
	r.git.Password = "fresh"
	if out, exit := r.run(t, "s", "git fetch -q 2>&1"); exit.Code == 0 || !strings.Contains(out, "Authentication failed") {
		t.Errorf("a fetch with a token that has expired: %+v, %s", exit, out)
	}
	set("fresh")
	if out, exit := r.run(t, "s", "git fetch -q 2>&1"); exit.Code != 0 || out != "" {
		t.Errorf("%+v, %s", exit, out)
	}
	if all := asked(); len(all) != 5 || all[3].Rejected || !all[4].Rejected {
		t.Errorf("asked %+v", all)
	}
	if out, exit := r.run(t, "s", "git ls-remote https://other.example/x/y.git 2>&1"); exit.Code == 0 || !strings.Contains(out, "not this one") && !strings.Contains(out, "resolve") {
		t.Errorf("a refused question: %+v, %s", exit, out)
	}
	fill := func(url string) (string, agent.Exit) {
		return r.run(t, "s", "echo url="+url+" | GIT_TERMINAL_PROMPT=0 git credential fill 2>&1")
	}
	if out, exit := fill("https://other.example/x"); exit.Code == 0 || !strings.Contains(out, "no credential for https://other.example/x: not this one") {
		t.Errorf("%+v, %s", exit, out)
	}
	if out, exit := fill("https://none.example/x"); exit.Code == 0 || !strings.Contains(out, "terminal prompts disabled") {
		t.Errorf("%+v, %s", exit, out)
	}
	if out, exit := r.run(t, "s", "grep -r -l -a -e right -e fresh $HOME $TMPDIR .git .. 2>/dev/null"); out != "" {
		t.Errorf("%+v, a credential is in %s", exit, out)
	}
	if _, err := os.Stat(r.agent.Inside(filepath.Dir(co.Workdir)) + "/.credentials"); err != nil {
		t.Error(err)
	}
}

// TestOnlyTheSessionAsks: another uid cannot use its socket, and a session without the helper has none.
func TestOnlyTheSessionAsks(t *testing.T) {
	r := privately(t)
	asked := answering(t, r.Client, func(agent.Question) agent.Answer { return agent.Answer{Username: "me", Password: "right"} })
	co := r.asking(t, "s", 10001)
	r.asking(t, "neighbour", 10002)
	if _, err := r.Open(testContext(t), agent.Session{ID: "plain", UID: 10003, Dir: "small", URL: r.url, Proven: true}); err != nil {
		t.Fatal(err)
	}
	top := filepath.Dir(co.Workdir)
	out, _ := r.run(t, "neighbour", `p=$(git config --global credential.helper | tail -1 | cut -d ' ' -f 1); printf 'protocol=https\nhost=x.example\n\n' | $p credential `+top+` get 2>&1`)
	if strings.Contains(out, "right") || !strings.Contains(out, "no credential") {
		t.Errorf("a neighbour got %q", out)
	}
	if out, exit := r.run(t, "plain", "git fetch 2>&1"); exit.Code == 0 {
		t.Errorf("a session without a helper: %s", out)
	}
	if all := asked(); len(all) != 0 {
		t.Errorf("asked %+v", all)
	}
	if err := r.CloseSession(testContext(t), "s", 10001); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(r.agent.Inside(top)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("after its end: %v", err)
	}
}

// TestAQuestionIsPassedOn: to another client when the one that has taken it is away, and again to the same one when the connection broke.
func TestAQuestionIsPassedOn(t *testing.T) {
	r := privately(t)
	r.asking(t, "s", 10001)
	ended := make(chan string, 1)
	go func() {
		out, _ := r.run(t, "s", "git fetch -q 2>&1; echo $?")
		ended <- out
	}()
	dead := r.agent.Client(agent.ClientOptions{Manager: "dead"})
	taken, err := dead.Questions(testContext(t), 0)
	if err != nil || len(taken) != 1 {
		t.Fatalf("%+v, %v", taken, err)
	}
	again, err := dead.Questions(testContext(t), 0) // as if the answer to the first call was lost
	if err != nil || len(again) != 1 || again[0].ID != taken[0].ID || again[0].Number <= taken[0].Number {
		t.Fatalf("%+v, %v", again, err)
	}
	short, cancel := context.WithTimeout(testContext(t), 3*time.Second)
	defer cancel()
	if other, err := r.Questions(short, 0); len(other) != 0 {
		t.Errorf("another client got it, too: %+v, %v", other, err)
	}
	dead.Close()
	answering(t, r.Client, func(agent.Question) agent.Answer { return agent.Answer{Username: "me", Password: "right"} })
	select {
	case out := <-ended:
		if out != "0\n" {
			t.Errorf("git says %q", out)
		}
	case <-time.After(patience):
		t.Error("git waits")
	}
}

// TestATokenThatExpiresInTheMiddleOfAPush: git 2.46 and later ask again. An older git fails, has pushed nothing, and succeeds the next time.
func TestATokenThatExpiresInTheMiddleOfAPush(t *testing.T) {
	r := privately(t)
	var mu sync.Mutex
	token, uploads := "right", 0
	current := func() string { mu.Lock(); defer mu.Unlock(); return token }
	asked := answering(t, r.Client, func(agent.Question) agent.Answer { return agent.Answer{Username: "me", Password: current()} })
	r.asking(t, "s", 10001)
	server := r.git.Config.Handler
	r.git.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		mu.Lock()
		if req.Method == http.MethodPost && strings.HasSuffix(req.URL.Path, "/git-receive-pack") {
			if uploads++; uploads == 1 {
				token = "fresh"
			}
		}
		r.git.Password = token
		mu.Unlock()
		server.ServeHTTP(w, req)
	})
	// More than git sends in one piece without looking first whether the server lets it.
	const push = `head -c 3000000 /dev/urandom >big && git add big && git commit -qm big; git push -q origin HEAD:refs/heads/big 2>&1`
	out, exit := r.run(t, "s", push)
	if uploads == 0 {
		t.Fatalf("nothing was pushed: %s", out)
	}
	if exit.Code != 0 {
		if branches := r.git.Git("small", "branch", "--list", "big"); branches != "" || !strings.Contains(out, "HTTP 401") && !strings.Contains(out, "Authentication failed") {
			t.Errorf("git says %q, and there is %q", out, branches)
		}
		if out, exit := r.run(t, "s", "git push -q origin HEAD:refs/heads/big 2>&1"); exit.Code != 0 {
			t.Errorf("the next push: %s", out)
		}
	}
	if r.git.Git("small", "branch", "--list", "big") == "" {
		t.Error("the branch did not arrive")
	}
	all := asked()
	if last := all[len(all)-1]; len(all) < 2 || all[0].Rejected || !last.Rejected {
		t.Errorf("asked %+v", all)
	}
}
