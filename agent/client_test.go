package agent_test

import (
	"bytes"
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

func testContext(tb testing.TB) context.Context {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	tb.Cleanup(cancel)
	return ctx
}

// ready is an agent with a mirror of a small repository.
type ready struct {
	*agent.Client
	agent *agenttest.Agent
	git   *agenttest.GitServer
	url   string
}

func start(tb testing.TB, args ...string) *ready {
	tb.Helper()
	return startOn(tb, agenttest.Start(tb, args...))
}

// startOn does the same with an agent that runs already.
func startOn(tb testing.TB, a *agenttest.Agent) *ready {
	tb.Helper()
	r := &ready{Client: a.Client(agent.ClientOptions{}), agent: a, git: agenttest.NewGitServer(tb)}
	r.url = r.git.Repo("small", map[string]string{"README.md": "hello\n", "dir/run.sh": "#!/bin/sh\necho ran\n"})
	if _, err := r.Fetch(testContext(tb), agent.Fetch{URL: r.url}, nil); err != nil {
		tb.Fatal(err)
	}
	return r
}

// session opens one.
func (r *ready) session(tb testing.TB, id string, uid int) agent.Checkout {
	tb.Helper()
	co, err := r.Open(testContext(tb), agent.Session{
		ID: id, UID: uid, Dir: "small", URL: r.url, Author: agent.Author{Name: "Ann", Email: "ann@example.com"},
	})
	if err != nil {
		tb.Fatal(err)
	}
	return co
}

// run runs a shell script to its end and returns what it printed.
func (r *ready) run(tb testing.TB, session, script string) (string, agent.Exit) {
	tb.Helper()
	var out bytes.Buffer
	p, err := r.Start(testContext(tb), agent.Command{
		Session: session, Args: []string{"sh", "-c", script}, Stdout: &out, Stderr: &out,
	})
	if err != nil {
		tb.Fatal(err)
	}
	exit, err := p.Wait()
	if err != nil {
		tb.Fatal(err)
	}
	return out.String(), exit
}

func TestSessionFromEndToEnd(t *testing.T) {
	r := start(t)
	ctx := testContext(t)
	co := r.session(t, "one", 10001)
	if co.Branch != "main" || len(co.Commit) != 40 || filepath.Base(co.Workdir) != "small" {
		t.Errorf("checkout: %+v", co)
	}
	if again := r.session(t, "one", 10001); again != co {
		t.Errorf("opened twice: %+v, then %+v", co, again)
	}
	out, exit := r.run(t, "one", `id -u; id -g; pwd; cat README.md; git status --short; git log -1 --format=%s; git config user.name
		echo $HOME $TMPDIR $USER; umask; stat -c '%a %u %g' $HOME $TMPDIR $(dirname $(pwd)) $(pwd) .git dir
		grep 'Max processes' /proc/self/limits | tr -s ' ' | cut -d ' ' -f 3,4; sh dir/run.sh; git branch; exit 3`)
	top := filepath.Dir(co.Workdir)
	want := "10001\n10001\n" + co.Workdir + "\nhello\nmore\nAnn\n" +
		top + "/home " + top + "/tmp berth10001\n0022\n" + strings.Repeat("700 10001 10001\n", 3) + strings.Repeat("755 10001 10001\n", 3) +
		"1024 1024\nran\n* main\n"
	if exit.Code != 3 || out != want {
		t.Errorf("exit %+v, and it says\n%s\nwant\n%s", exit, out, want)
	}
	uids, err := r.Sessions(ctx)
	if err != nil || len(uids) != 1 || uids["one"] != 10001 {
		t.Errorf("sessions: %v, %v", uids, err)
	}
	for range 2 {
		if err := r.CloseSession(ctx, "one", 10001); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := os.Stat(filepath.Dir(co.Workdir)); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("the session's directory is left: %v", err)
	}
	_, err = r.Start(ctx, agent.Command{Session: "one", Args: []string{"true"}})
	if !errors.Is(err, agent.ErrUnknownSession) {
		t.Errorf("a command in a closed session: %v", err)
	}
}

// soak says whether the long versions of tests were asked for.
func soak() bool { return os.Getenv("BERTH_SOAK") != "" }

// soaking returns the second value as a soak test, and the first one otherwise.
func soaking[T any](usual, long T) T {
	if soak() {
		return long
	}
	return usual
}

// patience is how long a test waits for what comes at once on a machine that is not busy.
const patience = 2 * time.Minute
