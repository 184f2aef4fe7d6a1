package local_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/store"
)

// asRoot runs a shell script in a container as root, without the agent, and returns what it printed.
func asRoot(l *local.Pool, container, script string) string {
	l.T.Helper()
	ctx := l.T.Context()
	made, err := l.Docker.ExecCreate(ctx, container, client.ExecCreateOptions{
		Cmd: []string{"sh", "-c", script}, User: "0:0", AttachStdout: true, AttachStderr: true,
		TTY: true, // so that the stream has no frames
	})
	if err != nil {
		l.T.Fatal(err)
	}
	attached, err := l.Docker.ExecAttach(ctx, made.ID, client.ExecAttachOptions{TTY: true})
	if err != nil {
		l.T.Fatal(err)
	}
	defer attached.Close()
	out, err := io.ReadAll(attached.Reader)
	if err != nil {
		l.T.Fatal(err)
	}
	state, err := l.Docker.ExecInspect(ctx, made.ID, client.ExecInspectOptions{})
	if err != nil || state.ExitCode != 0 {
		l.T.Fatalf("%s: exit code %d, %v\n%s", script, state.ExitCode, err, out)
	}
	return string(bytes.ReplaceAll(out, []byte("\r\n"), []byte("\n")))
}

// checkAlone fails the test unless soon a session is alone in its container: no other session has a process, a
// directory in /sessions, or a file in a directory that all can write to. The agent's own directories begin with a dot.
func checkAlone(l *local.Pool, s *berth.Session) {
	l.T.Helper()
	uid := local.Sh(l.T, s, "id -u")
	script := fmt.Sprintf(`
		ps -eo uid=,pid=,args= | awk '$1 >= %d && $1 <= %d && $1 != %s { print "process", $0 }'
		ls -A /sessions | grep -v '^[.]' | grep -vx %s | sed 's/^/in \/sessions: /'
		find /tmp /var/tmp /dev/shm -mindepth 1 ! -uid 0 ! -uid %s -printf 'file of uid %%U: %%p\n'`,
		store.MinUID, store.MaxUID, uid, s.ID(), uid)
	container := s.Info().Container.ID
	if own := asRoot(l, container, "ls -A /sessions"); !strings.Contains(own, s.ID()) {
		l.T.Errorf("the session is not in /sessions, so the search for others finds nothing: %q", own)
	}
	left := asRoot(l, container, script)
	// CreateSession may return before its work is undone, when its context has ended.
	for deadline := time.Now().Add(5 * time.Minute); left != "" && time.Now().Before(deadline); left = asRoot(l, container, script) {
		time.Sleep(200 * time.Millisecond)
	}
	if left != "" {
		l.T.Errorf("left in the container of %s:\n%s", s.ID(), left)
	}
}
