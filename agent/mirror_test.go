package agent_test

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

func (r *ready) fetch(tb testing.TB, f agent.Fetch) agent.Mirror {
	tb.Helper()
	if f.URL == "" {
		f.URL = r.url
	}
	m, err := r.Fetch(testContext(tb), f, nil)
	if err != nil {
		tb.Fatal(err)
	}
	return m
}

func TestFetchFollowsTheRemote(t *testing.T) {
	r := start(t)
	m := r.fetch(t, agent.Fetch{})
	if m.Cold || !m.Fetched || m.Size == 0 || m.Free == 0 {
		t.Errorf("second fetch: %+v", m)
	}
	if m := r.fetch(t, agent.Fetch{MaxAge: time.Hour}); m.Fetched || m.Size == 0 {
		t.Errorf("a fetch that MaxAge makes unnecessary: %+v", m)
	}
	r.git.Git("small", "checkout", "-q", "-b", "topic/one")
	r.git.Commit("small", map[string]string{"new": "new\n"})
	r.git.Git("small", "tag", "-a", "-m", "x", "v1")
	if m := r.fetch(t, agent.Fetch{MaxAge: time.Hour, Branch: "topic/one"}); !m.Fetched {
		t.Errorf("the branch is new, but nothing was fetched: %+v", m)
	}
	co, err := r.Open(testContext(t), agent.Session{ID: "a", UID: 10001, Dir: "tmp", URL: r.url, Branch: "topic/one"})
	if err != nil || co.Branch != "topic/one" || co.Commit != r.git.Git("small", "rev-parse", "HEAD") {
		t.Fatalf("%+v, %v", co, err)
	}
	out, _ := r.run(t, "a", "cat new; git status -sb; git describe; git fsck --full 2>&1; git rev-parse origin/HEAD; git for-each-ref --format='%(refname)'")
	want := "new\n## topic/one...origin/topic/one\nv1\n" + co.Commit + "\nrefs/heads/topic/one\nrefs/remotes/origin/HEAD\nrefs/remotes/origin/main\nrefs/remotes/origin/topic/one\nrefs/tags/v1\n"
	if out != want {
		t.Errorf("got\n%s\nwant\n%s", out, want)
	}

	// The remote renames its default branch, and a branch makes way for another that needs its name.
	r.git.Git("small", "checkout", "-q", "-b", "trunk")
	r.git.Git("small", "branch", "-D", "-q", "topic/one", "main")
	r.git.Git("small", "branch", "topic")
	r.fetch(t, agent.Fetch{})
	co, err = r.Open(testContext(t), agent.Session{ID: "b", UID: 10002, Dir: "x", URL: r.url})
	if err != nil || co.Branch != "trunk" {
		t.Errorf("%+v, %v", co, err)
	}
	if _, err := r.Fetch(testContext(t), agent.Fetch{URL: r.url, Branch: "topic/one"}, nil); !errors.Is(err, agent.ErrBranchNotFound) {
		t.Errorf("a deleted branch: %v", err)
	}
	if _, err := r.Open(testContext(t), agent.Session{ID: "c", UID: 10003, Dir: "x", URL: r.url, Branch: "none"}); !errors.Is(err, agent.ErrBranchNotFound) {
		t.Errorf("no such branch: %v", err)
	}
}

func TestASessionCommitsFetchesAndPushes(t *testing.T) {
	r := start(t)
	r.session(t, "s", 10001)
	out, exit := r.run(t, "s", `set -e
		git checkout -q -b work; echo more >>README.md; git commit -qam "by $USER"; git log -1 --format='%an <%ae>'
		git push -q origin work 2>&1; git fetch -q; git gc -q; git fsck --full; git checkout -q main; git pull -q; echo fine`)
	if exit.Code != 0 || out != "Ann <ann@example.com>\nfine\n" {
		t.Errorf("%+v\n%s", exit, out)
	}
	if r.git.Git("small", "log", "-1", "--format=%s", "work") != "by berth10001" {
		t.Error("the push did not arrive")
	}
	mirror := r.agent.Dir + "/mirror/repo.git"
	if out, _ := r.run(t, "s", "touch "+mirror+"/x "+mirror+"/objects/pack/x; rm -f "+mirror+"/HEAD; ls "+r.agent.Dir+"/sessions/t"); !strings.Contains(out, "denied") {
		t.Errorf("writing the mirror: %s", out)
	}
	r.session(t, "t", 10002)
	if out, _ := r.run(t, "s", "ls "+r.agent.Dir+"/sessions/t"); !strings.Contains(out, "denied") {
		t.Errorf("reading the neighbour: %s", out)
	}
	r.fetch(t, agent.Fetch{})
}

func TestAnEmptyRepository(t *testing.T) {
	r := start(t)
	a := agenttest.Start(t)
	c := a.Client(agent.ClientOptions{})
	url := r.git.Repo("empty", nil)
	if m, err := c.Fetch(testContext(t), agent.Fetch{URL: url}, nil); err != nil || !m.Cold {
		t.Fatalf("%+v, %v", m, err)
	}
	co, err := c.Open(testContext(t), agent.Session{ID: "s", UID: 10001, Dir: "empty", URL: url})
	if err != nil || co.Branch != "main" || co.Commit != "" {
		t.Errorf("%+v, %v", co, err)
	}
	e := &ready{Client: c, agent: a}
	if out, exit := e.run(t, "s", "git -c user.name=a -c user.email=b commit -q --allow-empty -m first && git push -q && git status -sb"); exit.Code != 0 {
		t.Error(out)
	}
}

func TestASHA256Repository(t *testing.T) {
	r := start(t)
	r.git.Repo("wide", nil)
	os.RemoveAll(r.git.Dir + "/wide/.git")
	r.git.Git("wide", "init", "-q", "-b", "main", "--object-format=sha256")
	r.git.Commit("wide", map[string]string{"f": "f\n"})
	a := agenttest.Start(t)
	w := &ready{Client: a.Client(agent.ClientOptions{}), agent: a, url: r.git.URL + "/wide/.git"}
	w.fetch(t, agent.Fetch{})
	if co := w.session(t, "s", 10001); len(co.Commit) != 64 {
		t.Errorf("%+v", co)
	}
	if out, exit := w.run(t, "s", "git fsck --full && git status -s && cat f"); exit.Code != 0 || out != "f\n" {
		t.Errorf("%+v %s", exit, out)
	}
}

func TestFetchReportsGitsOwnWordsWithoutTheCredential(t *testing.T) {
	t.Parallel()
	r := start(t)
	ctx := testContext(t)
	secret := "s3cret/&+ä%"
	r.git.Password = "right"
	check := func(what string, f agent.Fetch, want string) {
		t.Helper()
		_, err := r.Fetch(ctx, f, nil)
		var failed *agent.GitError
		if !errors.As(err, &failed) || !strings.Contains(strings.ToLower(failed.Message), want) {
			t.Errorf("%s: %v", what, err)
		}
		if strings.Contains(fmt.Sprint(err), "s3cret") || strings.Contains(fmt.Sprint(err), base64.StdEncoding.EncodeToString([]byte(secret))) {
			t.Errorf("%s: the error holds the credential: %v", what, err)
		}
	}
	check("no credential", agent.Fetch{URL: r.url}, "could not read username")
	check("wrong credential", agent.Fetch{URL: r.url, Username: "me", Password: secret}, "authentication failed")
	check("no such repository", agent.Fetch{URL: r.git.URL + "/none", Username: "me", Password: "right"}, "not found")
	l, _ := net.Listen("tcp", "127.0.0.1:0")
	dead := "http://" + l.Addr().String() + "/x"
	l.Close()
	check("nobody there", agent.Fetch{URL: dead, Password: secret}, "connect")
	check("forbidden transport", agent.Fetch{URL: "file://" + r.git.Dir + "/small"}, "not allowed")
	check("forbidden helper", agent.Fetch{URL: "ext::sh -c id"}, "not allowed")
	echo := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, pw, ok := req.BasicAuth(); ok {
			w.WriteHeader(500)
			fmt.Fprint(w, pw)
			return
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(401)
	}))
	defer echo.Close()
	check("a server that repeats it", agent.Fetch{URL: echo.URL + "/x", Username: "me", Password: secret}, "500")
	r.fetch(t, agent.Fetch{Username: "me", Password: "right"})
	log, _ := os.ReadFile(r.agent.Log)
	if strings.Contains(string(log), "s3cret") {
		t.Errorf("the log holds the credential:\n%s", log)
	}
	if m := r.fetch(t, agent.Fetch{Username: "me", Password: "right"}); m.Cold {
		t.Error("a failed fetch has cost the mirror")
	}
}

// A server that redirects must not be told the credential that was meant for another.
func TestTheCredentialDoesNotFollowARedirect(t *testing.T) {
	var told atomic.Bool
	thief := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if _, _, ok := req.BasicAuth(); ok {
			told.Store(true)
		}
		w.Header().Set("WWW-Authenticate", `Basic realm="x"`)
		w.WriteHeader(401)
	}))
	defer thief.Close()
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		http.Redirect(w, req, thief.URL+req.URL.String(), http.StatusFound)
	}))
	defer front.Close()
	a := agenttest.Start(t)
	_, err := a.Client(agent.ClientOptions{}).Fetch(testContext(t), agent.Fetch{URL: front.URL + "/x.git", Username: "me", Password: "pw"}, nil)
	if err == nil || told.Load() {
		t.Errorf("err %v, told %v", err, told.Load())
	}
}

func TestManyFetchesAtOnceCostTwo(t *testing.T) {
	r := start(t)
	var requests atomic.Int32
	handler := r.git.Config.Handler
	r.git.Config.Handler = http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) {
		if strings.HasSuffix(req.URL.Path, "/info/refs") {
			requests.Add(1)
			time.Sleep(100 * time.Millisecond)
		}
		handler.ServeHTTP(w, req)
	})
	var all sync.WaitGroup
	for range 50 {
		all.Go(func() { r.fetch(t, agent.Fetch{}) })
	}
	all.Wait()
	if n := requests.Load(); n > 6 { // fetch and ls-remote
		t.Errorf("%d requests", n)
	}
}

func TestAFetchThatNobodyWaitsForIsEnded(t *testing.T) {
	hang := make(chan struct{})
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, req *http.Request) { <-hang }))
	defer server.Close()
	defer close(hang)
	a := agenttest.Start(t)
	c := a.Client(agent.ClientOptions{})
	ctx, cancel := context.WithTimeout(testContext(t), 300*time.Millisecond)
	defer cancel()
	if _, err := c.Fetch(ctx, agent.Fetch{URL: server.URL + "/x.git"}, nil); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("%v", err)
	}
	r := &ready{Client: c, agent: a, git: agenttest.NewGitServer(t)}
	r.url = r.git.Repo("small", map[string]string{"f": "f"})
	if m := r.fetch(t, agent.Fetch{}); !m.Cold {
		t.Errorf("%+v", m)
	}
	r.session(t, "s", 10001)
	if out, _ := r.run(t, "s", "pgrep -l git; ls -A "+a.Dir+"/mirror"); out != ".anonymous\n.caches\n.fetched\n.guests\n.home\n.lost\n.prepared\nrepo.git\n" {
		t.Errorf("left: %s", out)
	}
}

func TestABrokenMirrorIsMadeAnew(t *testing.T) {
	packs := func(r *ready) []string {
		found, _ := filepath.Glob(r.agent.Dir + "/mirror/repo.git/objects/pack/*.pack")
		return found
	}
	for name, damage := range map[string]func(r *ready){
		"a pack is gone":      func(r *ready) { os.Remove(packs(r)[0]) },
		"a pack is cut short": func(r *ready) { os.Truncate(packs(r)[0], 50) },
		"HEAD is gone":        func(r *ready) { os.Remove(r.agent.Dir + "/mirror/repo.git/HEAD") },
		"refs are garbage":    func(r *ready) { os.WriteFile(r.agent.Dir+"/mirror/repo.git/packed-refs", []byte("rubbish\n"), 0o644) },
		"locks and litter": func(r *ready) {
			for _, f := range []string{"packed-refs.lock", "HEAD.lock", "refs/heads/main.lock", "objects/pack/tmp_pack_x", "shallow.lock"} {
				os.WriteFile(r.agent.Dir+"/mirror/repo.git/"+f, []byte("x"), 0o600)
			}
		},
	} {
		for variant := range 4 {
			restart, quiet := variant&1 != 0, variant&2 != 0
			if name == "locks and litter" && !restart {
				continue // only what is left of an earlier life is litter
			}
			t.Run(fmt.Sprintf("%s, restart %v, nothing new %v", name, restart, quiet), func(t *testing.T) {
				r := start(t)
				r.session(t, "old", 10001)
				damage(r)
				if restart {
					r.agent.Restart()
					r.Client = r.agent.Client(agent.ClientOptions{})
				}
				if !quiet {
					r.git.Commit("small", map[string]string{"README.md": "later\n"})
				}
				m := r.fetch(t, agent.Fetch{})
				r.session(t, "new", 10002)
				out, exit := r.run(t, "new", "git fsck --full 2>&1 && cat README.md")
				if exit.Code != 0 || out != "later\n" && !quiet {
					t.Errorf("%+v %s", exit, out)
				}
				t.Logf("cold: %v", m.Cold)
				if !restart {
					if out, exit := r.run(t, "old", "git log -1 --format=%s && git status -s"); exit.Code != 0 {
						t.Errorf("the session that was there: %s", out)
					}
				}
				if found, _ := filepath.Glob(r.agent.Dir + "/mirror/repo.git/*.lock"); len(found) > 0 {
					t.Errorf("left: %v", found)
				}
			})
		}
	}
}

func TestAWarmMirrorOutlivesTheAgent(t *testing.T) {
	r := start(t)
	r.agent.Restart()
	r.Client = r.agent.Client(agent.ClientOptions{})
	if m := r.fetch(t, agent.Fetch{MaxAge: time.Hour}); m.Cold || m.Fetched || m.Size == 0 {
		t.Errorf("just fetched by an earlier agent: %+v", m)
	}
	if m := r.fetch(t, agent.Fetch{}); m.Cold || !m.Fetched {
		t.Errorf("%+v", m)
	}
	r.session(t, "s", 10001)
}

func TestProgressIsReported(t *testing.T) {
	r := start(t)
	files := make(map[string]string)
	for i := range 500 {
		files[fmt.Sprint("f", i)] = strings.Repeat(fmt.Sprint(i), 1000)
	}
	url := r.git.Repo("more", files)
	a := agenttest.Start(t)
	var steps []agent.Progress
	if _, err := a.Client(agent.ClientOptions{}).Fetch(testContext(t), agent.Fetch{URL: url}, func(p agent.Progress) { steps = append(steps, p) }); err != nil {
		t.Fatal(err)
	}
	if len(steps) == 0 || steps[len(steps)-1].Percent < -1 || steps[0].Phase == "" {
		t.Errorf("%v", steps)
	}
}
