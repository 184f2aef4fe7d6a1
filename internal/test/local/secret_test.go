package local_test

import (
	"bytes"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
)

// TestLocalCredentialIsNotSeenDuringAFetch: neither another session in the container nor a user of the engine sees it.
func TestLocalCredentialIsNotSeenDuringAFetch(t *testing.T) {
	const secret = "s3cret-token"
	l := local.New(t, berth.Config{MirrorMaxAge: 1}) // any session fetches
	remote := l.Git.Create("org/secret", gittest.Small())
	remote.RequireCredentials("robot", secret)
	url := strings.Replace(remote.URL(), "://", "://robot:"+secret+"@", 1)
	neighbour := l.Create("neighbour", url, "")
	remote.Delay(500 * time.Millisecond)
	created := make(chan error, 1)
	go func() {
		_, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "u", Repository: url})
		created <- err
	}()
	var seen strings.Builder
	looks := 0
	for over := false; !over; looks++ {
		for id := range l.Containers() {
			top, err := l.Docker.ContainerTop(t.Context(), id, client.ContainerTopOptions{Arguments: []string{"-ef"}})
			if err != nil {
				t.Fatal(err)
			}
			fmt.Fprintln(&seen, top.Processes)
		}
		fmt.Fprintln(&seen, local.Sh(t, neighbour, "cat .git/config /proc/[0-9]*/cmdline /proc/[0-9]*/environ 2>/dev/null | tr '\\0' '\\n'"))
		select {
		case err := <-created:
			if over = true; err != nil {
				t.Error(err)
			}
		default:
		}
	}
	remote.Delay(0)
	if looks < 3 || !strings.Contains(seen.String(), "git-remote-http") {
		t.Errorf("%d looks did not see the fetch", looks)
	}
	if strings.Contains(seen.String(), secret) {
		t.Errorf("the credential is seen:\n%s", seen.String())
	}
}

// TestLocalEnvironmentOfThePool: the sessions have it. Neither the engine nor the log shows it.
func TestLocalEnvironmentOfThePool(t *testing.T) {
	t.Parallel()
	const secret = "s3cret-of-the-proxy"
	var log bytes.Buffer
	l := local.New(t, berth.Config{
		Env:    map[string]string{"ftp_proxy": "http://ann:" + secret + "@proxy", "LEVEL": "pool", "PATH": "/usr/bin:/bin"},
		Logger: slog.New(slog.NewTextHandler(&log, &slog.HandlerOptions{Level: slog.LevelDebug})),
	})
	remote := l.Git.Create("org/environment", gittest.Small())
	s, err := l.CreateSession(t.Context(), berth.SessionRequest{
		TaskID: "t", UserID: "u", Repository: remote.URL(), Env: map[string]string{"LEVEL": "session"},
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := local.Sh(t, s, "echo $ftp_proxy $LEVEL $PATH"), "http://ann:"+secret+"@proxy session /usr/bin:/bin\n"; strings.TrimSpace(got) != strings.TrimSpace(want) {
		t.Errorf("the session has %q; want %q", got, want)
	}
	for id := range l.Containers() {
		found, err := l.Docker.ContainerInspect(t.Context(), id, client.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		if strings.Contains(string(found.Raw), secret) {
			t.Errorf("the engine shows it: %s", found.Raw)
		}
		logs, err := l.Docker.ContainerLogs(t.Context(), id, client.ContainerLogsOptions{ShowStdout: true, ShowStderr: true})
		if err != nil {
			t.Fatal(err)
		}
		said, err := io.ReadAll(logs)
		logs.Close()
		if err != nil || len(said) == 0 || bytes.Contains(said, []byte(secret)) {
			t.Errorf("the agent says %q, %v", said, err)
		}
	}
	if err := l.Destroy(t.Context()); err != nil { // so that nothing writes to the log any more
		t.Fatal(err)
	}
	if strings.Contains(log.String(), secret) {
		t.Errorf("the log shows it:\n%s", &log)
	}
}

// TestLocalTokenAsTheUser: a remote may hold a token in the place of the user, and no password.
func TestLocalTokenAsTheUser(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{})
	remote := l.Git.Create("org/token", gittest.Small())
	remote.RequireCredentials("ghp_s3cret-token", "")
	s := l.Create("t", strings.Replace(remote.URL(), "://", "://ghp_s3cret-token@", 1), "")
	if got := local.Sh(t, s, "git rev-parse HEAD"); got != remote.Head("main") {
		t.Errorf("the checkout is at %s", got)
	}
}
