package berth_test

import (
	"bytes"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/store"
)

// asRoot runs a shell script in a container as its root, past the agent, and returns what it printed.
func (l *local) asRoot(container, script string) string {
	l.t.Helper()
	ctx := l.t.Context()
	made, err := l.docker.ExecCreate(ctx, container, client.ExecCreateOptions{
		Cmd: []string{"sh", "-c", script}, User: "0:0", AttachStdout: true, AttachStderr: true,
		TTY: true, // so that the stream has no frames
	})
	if err != nil {
		l.t.Fatal(err)
	}
	attached, err := l.docker.ExecAttach(ctx, made.ID, client.ExecAttachOptions{TTY: true})
	if err != nil {
		l.t.Fatal(err)
	}
	defer attached.Close()
	out, err := io.ReadAll(attached.Reader)
	if err != nil {
		l.t.Fatal(err)
	}
	state, err := l.docker.ExecInspect(ctx, made.ID, client.ExecInspectOptions{})
	if err != nil || state.ExitCode != 0 {
		l.t.Fatalf("%s: exit code %d, %v\n%s", script, state.ExitCode, err, out)
	}
	return string(bytes.ReplaceAll(out, []byte("\r\n"), []byte("\n")))
}

// checkAlone fails the test unless soon nothing of any other session is left in a session's container: no process of its
// uid, no directory in /sessions, and no file where all may write.
func (l *local) checkAlone(s *berth.Session) {
	l.t.Helper()
	uid := sh(l.t, s, "id -u")
	script := fmt.Sprintf(`
		ps -eo uid=,pid=,args= | awk '$1 >= %d && $1 <= %d && $1 != %s { print "process", $0 }'
		ls -A /sessions | grep -vx %s | sed 's/^/in \/sessions: /'
		find /tmp /var/tmp /dev/shm -mindepth 1 ! -uid 0 ! -uid %s -printf 'file of uid %%U: %%p\n'`,
		store.MinUID, store.MaxUID, uid, s.ID(), uid)
	container := s.Info().Container.ID
	if own := l.asRoot(container, "ls -A /sessions"); !strings.Contains(own, s.ID()) {
		l.t.Errorf("the session is not in /sessions, so the look for others sees nothing: %q", own)
	}
	left := l.asRoot(container, script)
	// A caller who gave up does not wait for the undoing.
	for deadline := time.Now().Add(20 * time.Second); left != "" && time.Now().Before(deadline); left = l.asRoot(container, script) {
		time.Sleep(200 * time.Millisecond)
	}
	if left != "" {
		l.t.Errorf("left in the container of %s:\n%s", s.ID(), left)
	}
}
