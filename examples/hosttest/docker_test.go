package hosttest

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/store/memstore"
)

// TestRunsOnDocker checks that the script does what the fake shell of the other tests does. The agent is a shell.
func TestRunsOnDocker(t *testing.T) {
	cfg := berth.Config{Image: testenv.Image(t), Name: testenv.PoolName(t), Store: memstore.New(), Egress: gittest.Egress()}
	repo := gittest.NewRepo("acme/shop")
	repo.Commit("main", "Begin", map[string]string{"README.md": "# shop\n"})
	server, err := gittest.Serve(t.Context(), testenv.Docker(t), repo)
	if err != nil {
		t.Fatal(err)
	}
	defer server.Close()
	open := func() *berth.Provider {
		p, err := berth.NewLocalProvider(t.Context(), cfg)
		if err != nil {
			t.Fatal(err)
		}
		return p
	}
	first := open()
	second := first
	defer func() {
		if err := second.Destroy(context.Background()); err != nil {
			t.Error(err)
		}
	}()
	c := serve(t, first, "sh")
	c.call(200, "PUT", "/tasks/fix-login", `{"user": "alice", "repository": "`+server.URL(repo)+`"}`, nil)
	c.call(404, "GET", "/tasks/fix-login/runs/long", "", nil)
	long := "echo in ${PWD##*/}; until [ -e go ]; do sleep 0.1; done; echo \"it's done\" >&2; exit 3"
	c.call(204, "PUT", "/tasks/fix-login/runs/long", long, nil)
	c.call(204, "PUT", "/tasks/fix-login/runs/dies", "kill -9 $PPID", nil)
	if err := first.Close(); err != nil {
		t.Fatal(err)
	}

	second = open() // the backend restarts
	c = serve(t, second, "sh")
	c.call(204, "PUT", "/tasks/fix-login/runs/long", long, nil) // does not start the run again
	await := func(path string, want run) {
		t.Helper()
		for end := time.Now().Add(time.Minute); ; {
			got := c.look(path)
			if got == want {
				return
			}
			if time.Now().After(end) {
				t.Fatalf("%s is %q, want %q", path, got, want)
			}
		}
	}
	await("/tasks/fix-login/runs/long", run{"running", "", "in shop\n"})
	await("/tasks/fix-login/runs/dies", run{"killed", "", ""})
	c.call(204, "PUT", "/tasks/fix-login/runs/go", "touch go", nil)
	await("/tasks/fix-login/runs/go", run{"exited", "0", ""})
	await("/tasks/fix-login/runs/long", run{"exited", "3", "in shop\nit's done\n"})
	await("/tasks/fix-login/runs/long?from=8", run{"exited", "3", "it's done\n"})
	c.call(204, "PUT", "/tasks/fix-login/runs/much", "yes | head -c 3000000", nil)
	await("/tasks/fix-login/runs/much?from=2999998", run{"exited", "0", "y\n"})
	if got := c.look("/tasks/fix-login/runs/much"); got.output != strings.Repeat("y\n", maxOutput/2) {
		t.Errorf("at most %d bytes come at once, and %d came", maxOutput, len(got.output))
	}
}
