package hosttest

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/store/memstore"
)

const onShop = `{"user": "alice", "repository": "https://github.com/acme/shop"}`

// client calls the application's handlers as HTTP does, without a network.
type client struct {
	t       *testing.T
	handler http.Handler
}

// serve starts a process of the application.
func serve(t *testing.T, p berth.ComputeProvider, agent ...string) client {
	mux := http.NewServeMux()
	(&Tasks{Compute: p, Agent: agent}).Register(mux)
	return client{t, mux}
}

// open returns the real Provider over fake drivers, which each test makes anew.
func open(t *testing.T, opts fake.Options) *berth.Provider {
	t.Helper()
	p, err := fake.NewProvider(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	return p
}

// call sends a request, checks the status, and reads the answer into got unless got is nil.
func (c client) call(want int, method, path, body string, got any) {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
	if w.Code != want {
		c.t.Fatalf("%s %s = %d %s, want %d", method, path, w.Code, w.Body, want)
	}
	if got == nil {
		return
	}
	if err := json.Unmarshal(w.Body.Bytes(), got); err != nil {
		c.t.Fatalf("%s %s: %v in %q", method, path, err, w.Body)
	}
}

// run is a run as a client sees it.
type run struct{ state, code, output string }

// look looks at a run.
func (c client) look(path string) run {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.handler.ServeHTTP(w, httptest.NewRequest("GET", path, nil))
	if w.Code != 200 {
		c.t.Fatalf("GET %s = %d %s", path, w.Code, w.Body)
	}
	return run{w.Header().Get(StateHeader), w.Header().Get(CodeHeader), w.Body.String()}
}

func TestTaskFromStartToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, open(t, fake.Options{Run: shell()}), "agent")
		var first, second Place
		c.call(200, "PUT", "/tasks/fix-login", onShop, &first)
		c.call(200, "PUT", "/tasks/add-tests", `{"user": "bob", "repository": "git@github.com:acme/shop.git"}`, &second)
		if first.Start != berth.StartCold || second.Start != berth.StartAttached || first.Container != second.Container {
			t.Errorf("two tasks on one repository got %+v and %+v", first, second)
		}

		c.call(204, "PUT", "/tasks/fix-login/runs/1", "fix the login", nil)
		c.call(204, "PUT", "/tasks/fix-login/runs/1", "fix the login", nil) // a client that got no answer does this
		c.call(204, "PUT", "/tasks/fix-login/runs/2", "", nil)
		if got, want := c.look("/tasks/fix-login/runs/1"), (run{"running", "", "thinking\n"}); got != want {
			t.Errorf("at first: %q, want %q", got, want)
		}
		time.Sleep(time.Hour / 2)
		if got, want := c.look("/tasks/fix-login/runs/1"), (run{"exited", "0", "thinking\ndone: fix the login\n"}); got != want {
			t.Errorf("in the end: %q, want %q", got, want)
		}
		if got, want := c.look("/tasks/fix-login/runs/2?from=9"), (run{"exited", "2", "what shall I do?\n"}); got != want {
			t.Errorf("without a prompt: %q, want %q", got, want)
		}
		c.call(404, "GET", "/tasks/fix-login/runs/3", "", nil)

		c.call(204, "DELETE", "/tasks/fix-login", "", nil)
		c.call(204, "DELETE", "/tasks/fix-login", "", nil)
		c.call(404, "PUT", "/tasks/fix-login/runs/4", "one more thing", nil)
	})
}

// TestClientLeaves: a run goes on after its client has left.
func TestClientLeaves(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, open(t, fake.Options{Run: shell()}), "agent")
		c.call(200, "PUT", "/tasks/fix-login", onShop, nil)
		ctx, leave := context.WithCancel(t.Context())
		put := httptest.NewRequestWithContext(ctx, "PUT", "/tasks/fix-login/runs/1", strings.NewReader("fix the login"))
		c.handler.ServeHTTP(httptest.NewRecorder(), put)
		leave()
		time.Sleep(time.Hour / 2)
		if got := c.look("/tasks/fix-login/runs/1"); got.state != "exited" || got.code != "0" {
			t.Errorf("after its client has left, the run is %q", got)
		}
	})
}

// TestBackendIsStartedAgain: a run outlives the process that started it, and all other processes see it. That needs a Store and
// an Engine that outlive the Provider.
func TestBackendIsStartedAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := fake.NewCloud(fake.CloudOptions{})
		engine := fake.NewEngine(fake.EngineOptions{Cloud: cloud, Run: shell()})
		t.Cleanup(func() { engine.Close() }) // after the Providers: cleanups run last in, first out
		opts := fake.Options{Cloud: cloud, Engine: engine, Config: berth.Config{Store: memstore.New()}}
		first, other := open(t, opts), serve(t, open(t, opts), "agent")

		var before, after Place
		c := serve(t, first, "agent")
		c.call(200, "PUT", "/tasks/fix-login", onShop, &before)
		c.call(204, "PUT", "/tasks/fix-login/runs/1", "fix the login", nil)
		first.Close()
		c.call(503, "PUT", "/tasks/fix-login", onShop, nil)

		again := serve(t, open(t, opts), "agent")
		again.call(200, "PUT", "/tasks/fix-login", onShop, &after)
		if after != before {
			t.Errorf("after the restart the task has %+v, before it had %+v", after, before)
		}
		again.call(204, "PUT", "/tasks/fix-login/runs/1", "fix the login", nil) // it is not started twice
		if got, want := other.look("/tasks/fix-login/runs/1"), (run{"running", "", "thinking\n"}); got != want {
			t.Errorf("another replica sees %q, want %q", got, want)
		}
		time.Sleep(time.Hour / 2)
		if got, want := again.look("/tasks/fix-login/runs/1"), (run{"exited", "0", "thinking\ndone: fix the login\n"}); got != want {
			t.Errorf("in the end: %q, want %q", got, want)
		}
	})
}

func TestRetryFindsTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, open(t, fake.Options{}))
		var first, again Place
		c.call(200, "PUT", "/tasks/fix-login", onShop, &first)
		c.call(200, "PUT", "/tasks/fix-login", onShop, &again)
		if first != again {
			t.Errorf("the retry got %+v, the first try %+v", again, first)
		}
		c.call(409, "PUT", "/tasks/fix-login", strings.ReplaceAll(onShop, "shop", "bank"), nil)
	})
}

func TestNoRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, open(t, fake.Options{Config: berth.Config{MaxInstances: 1, MaxTasksPerInstance: 1, QueueTimeout: time.Minute}}))
		c.call(200, "PUT", "/tasks/first", onShop, nil)
		c.call(503, "PUT", "/tasks/second", onShop, nil)
		c.call(204, "DELETE", "/tasks/first", "", nil)
		c.call(200, "PUT", "/tasks/second", onShop, nil)
	})
}

func TestInstanceIsLostUnderTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := fake.NewCloud(fake.CloudOptions{})
		c := serve(t, open(t, fake.Options{Cloud: cloud, Run: shell()}), "agent")
		c.call(200, "PUT", "/tasks/fix-login", onShop, nil)
		c.call(204, "PUT", "/tasks/fix-login/runs/1", "fix the login", nil)
		cloud.Interrupt(cloud.Machines()[0].LaunchID)
		time.Sleep(5 * time.Minute)
		c.call(404, "GET", "/tasks/fix-login/runs/1", "", nil)

		var again Place
		c.call(200, "PUT", "/tasks/fix-login", onShop, &again)
		if again.Start != berth.StartCold {
			t.Errorf("on a new instance the task got %+v", again)
		}
	})
}

// TestClientLeavesEarly: nothing is left of a task whose client left before the session was there.
func TestClientLeavesEarly(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := fake.NewEngine(fake.EngineOptions{})
		c := serve(t, open(t, fake.Options{Engine: engine}))
		engine.HangRemote("https://github.com/acme/shop", true)
		ctx, leave := context.WithTimeout(t.Context(), time.Minute)
		defer leave()
		put := httptest.NewRequestWithContext(ctx, "PUT", "/tasks/fix-login", strings.NewReader(onShop))
		c.handler.ServeHTTP(httptest.NewRecorder(), put)
		if left := engine.Containers(); len(left) > 0 {
			t.Errorf("the client left %+v", left)
		}
	})
}

func TestBadRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := serve(t, open(t, fake.Options{Run: shell(), Engine: fake.NewEngine(fake.EngineOptions{
			Repositories: map[string]fake.Repo{"https://github.com/acme/gone": {Missing: true}},
		})}), "agent")
		c.call(400, "PUT", "/tasks/t", `{"user": `, nil)
		c.call(400, "PUT", "/tasks/t", `{"user": "alice", "repository": "/etc"}`, nil)
		c.call(403, "PUT", "/tasks/t", strings.ReplaceAll(onShop, "shop", "gone"), nil)
		c.call(404, "PUT", "/tasks/t/runs/1", "", nil)
		c.call(200, "PUT", "/tasks/t", onShop, nil)
		c.call(400, "PUT", "/tasks/t/runs/..x", "", nil)
		c.call(400, "PUT", "/tasks/t/runs/1", strings.Repeat("x", maxPrompt+1), nil)
		c.call(400, "PUT", "/tasks/t/runs/1", "a\x00b", nil)
		c.call(400, "GET", "/tasks/t/runs/1?from=-1", "", nil)
	})
}
