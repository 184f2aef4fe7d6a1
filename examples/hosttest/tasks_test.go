package hosttest

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

const onShop = `{"user": "alice", "repository": "https://github.com/acme/shop"}`

// client calls the application's handlers as HTTP does, without a network.
type client struct {
	t   *testing.T
	mux *http.ServeMux
}

// start starts the application over the real Provider on fake drivers. Each test begins with a fresh world.
func start(t *testing.T, opts fake.Options) client {
	t.Helper()
	p, err := fake.NewProvider(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { p.Close() })
	c := client{t, http.NewServeMux()}
	(&Tasks{Compute: p, Agent: []string{"agent"}}).Register(c.mux)
	return c
}

// call sends a request, wants a status, and reads the answer into got if that is not nil.
func (c client) call(want int, method, path, body string, got any) {
	c.t.Helper()
	w := httptest.NewRecorder()
	c.mux.ServeHTTP(w, httptest.NewRequest(method, path, strings.NewReader(body)))
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

// agent stands in for the coding agent. It works for twenty minutes, of which the test waits for none; it dies when it
// is killed.
func agent(ctx context.Context, c fake.Command) int {
	prompt, _ := io.ReadAll(c.Stdin)
	select {
	case <-time.After(20 * time.Minute):
	case <-ctx.Done():
		return -9
	}
	if len(prompt) == 0 {
		fmt.Fprintln(c.Stderr, "what shall I do?")
		return 2
	}
	fmt.Fprintf(c.Stdout, "done: %s\n", prompt)
	return 0
}

func TestTaskFromStartToEnd(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, fake.Options{Run: agent})
		var first, second Place
		c.call(200, "PUT", "/tasks/fix-login", onShop, &first)
		c.call(200, "PUT", "/tasks/add-tests", `{"user": "bob", "repository": "git@github.com:acme/shop.git"}`, &second)
		if first.Start != berth.StartCold || second.Start != berth.StartAttached || first.Container != second.Container {
			t.Errorf("two tasks on one repository got %+v and %+v", first, second)
		}

		var result Result
		c.call(200, "POST", "/tasks/fix-login/run", "fix the login", &result)
		if want := (Result{0, "done: fix the login\n"}); result != want {
			t.Errorf("the agent gave %+v, want %+v", result, want)
		}
		c.call(200, "POST", "/tasks/fix-login/run", "", &result)
		if want := (Result{2, "what shall I do?\n"}); result != want {
			t.Errorf("the agent gave %+v, want %+v", result, want)
		}

		c.call(204, "DELETE", "/tasks/fix-login", "", nil)
		c.call(204, "DELETE", "/tasks/fix-login", "", nil)
		c.call(404, "POST", "/tasks/fix-login/run", "one more thing", nil)
	})
}

func TestRetryFindsTheTask(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, fake.Options{})
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
		c := start(t, fake.Options{Config: berth.Config{MaxInstances: 1, MaxTasksPerInstance: 1, QueueTimeout: time.Minute}})
		c.call(200, "PUT", "/tasks/first", onShop, nil)
		c.call(503, "PUT", "/tasks/second", onShop, nil)
		c.call(204, "DELETE", "/tasks/first", "", nil)
		c.call(200, "PUT", "/tasks/second", onShop, nil)
	})
}

func TestInstanceIsLostUnderTheAgent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		cloud := fake.NewCloud(fake.CloudOptions{})
		c := start(t, fake.Options{Cloud: cloud, Run: agent})
		c.call(200, "PUT", "/tasks/fix-login", onShop, nil)
		time.AfterFunc(5*time.Minute, func() { cloud.Interrupt(cloud.Machines()[0].LaunchID) })
		c.call(502, "POST", "/tasks/fix-login/run", "fix the login", nil)

		var again Place
		c.call(200, "PUT", "/tasks/fix-login", onShop, &again)
		if again.Start != berth.StartCold {
			t.Errorf("on a new instance the task got %+v", again)
		}
	})
}

func TestClientGoesAway(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		engine := fake.NewEngine(fake.EngineOptions{})
		c := start(t, fake.Options{Engine: engine})
		engine.HangRemote("https://github.com/acme/shop", true)
		ctx, leave := context.WithTimeout(t.Context(), time.Minute)
		defer leave()
		put := httptest.NewRequestWithContext(ctx, "PUT", "/tasks/fix-login", strings.NewReader(onShop))
		c.mux.ServeHTTP(httptest.NewRecorder(), put)
		if left := engine.Containers(); len(left) > 0 {
			t.Errorf("the client left %+v", left)
		}
	})
}

func TestBadRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := start(t, fake.Options{Engine: fake.NewEngine(fake.EngineOptions{
			Repositories: map[string]fake.Repo{"https://github.com/acme/gone": {Missing: true}},
		})})
		c.call(400, "PUT", "/tasks/t", `{"user": `, nil)
		c.call(400, "PUT", "/tasks/t", `{"user": "alice", "repository": "/etc"}`, nil)
		c.call(422, "PUT", "/tasks/t", strings.ReplaceAll(onShop, "shop", "gone"), nil)
		c.call(404, "POST", "/tasks/t/run", "", nil)
	})
}
