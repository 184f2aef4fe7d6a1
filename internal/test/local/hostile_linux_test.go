package local_test

import (
	"bufio"
	"bytes"
	"context"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
	"github.com/berth-go/berth/orchestrator"
)

// A deed is what a hostile session does. It must not harm anybody else.
type deed struct {
	name string
	do   func(t *testing.T, s *scene)
}

// TestLocalHostileSessions lets sessions do harm in many ways. After each, the neighbour in the same container, the one in another
// container, the agents and the warden must be as before.
func TestLocalHostileSessions(t *testing.T) {
	s := newScene(t)
	for _, d := range slices.Concat(looks, grabs, ports, ends) {
		t.Run(d.name, func(t *testing.T) {
			d.do(t, s)
			s.checkUnharmed(t)
		})
	}
}

// A scene has hostile sessions and those that they may harm.
type scene struct {
	*local.Pool
	remote     *gittest.Remote // of the container in which the hostile sessions are
	url        string
	mallory    *berth.Session // hostile, and so is
	eve        *berth.Session // in the same container
	neighbour  *witness       // in the same container
	away       *witness       // in another container of the instance
	program    []byte
	containers map[string]string // when each container of the pool was started, by ID
	hostile    string            // the program in a hostile session
}

// A witness is a session that works.
type witness struct {
	*berth.Session
	in  io.Writer
	out *bufio.Reader // of a command that repeats each line
}

func newScene(t *testing.T) *scene {
	l := local.New(t, berth.Config{Limits: orchestrator.Limits{Session: orchestrator.SessionLimits{
		MemoryBytes: 300 << 20, TmpBytes: 48 << 20, VarTmpBytes: 48 << 20, ShmBytes: 48 << 20, Inodes: 20_000,
	}}})
	remote := l.Git.Create("org/shared", gittest.Small())
	s := &scene{Pool: l, remote: remote, url: remote.URL(), program: buildHostile(t), hostile: "$HOME/hostile"}
	s.neighbour, s.away = s.witness(t, "neighbour", s.url), s.witness(t, "away", l.Git.Create("org/away", gittest.Small()).URL())
	s.mallory, s.eve = s.villain(t, "mallory"), s.villain(t, "eve")
	for in := range l.Instances(t.Context()) {
		if in.Isolation != berth.IsolationRooms {
			testenv.Missing(t, "needs an engine that allows the warden: %s", in.IsolationReason)
		}
	}
	if a := s.mallory.Info().Container; a != s.neighbour.Info().Container || a == s.away.Info().Container {
		t.Fatalf("the hostile session is in %v, its neighbour in %v, and the other in %v", a, s.neighbour.Info().Container, s.away.Info().Container)
	}
	s.containers = s.started(t)
	return s
}

// buildHostile returns the program of package hostile for the engine of this machine.
func buildHostile(t *testing.T) []byte {
	t.Helper()
	file := filepath.Join(t.TempDir(), "hostile")
	build := exec.Command("go", "build", "-o", file, "github.com/berth-go/berth/internal/test/hostile")
	build.Env = append(os.Environ(), "CGO_ENABLED=0", "GOOS=linux", "GOARCH="+runtime.GOARCH)
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	program, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	return program
}

// give copies the hostile program into a session.
func (s *scene) give(t *testing.T, to *berth.Session) {
	t.Helper()
	cmd := to.Command(t.Context(), "sh", "-c", `cat >"$HOME/hostile" && chmod 755 "$HOME/hostile"`)
	cmd.Stdin = bytes.NewReader(s.program)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
}

func (s *scene) villain(t *testing.T, task string) *berth.Session {
	t.Helper()
	v := s.Create(task, s.url, "")
	s.give(t, v)
	return v
}

func (s *scene) witness(t *testing.T, task, url string) *witness {
	t.Helper()
	w := &witness{Session: s.Create(task, url, "")}
	s.give(t, w.Session)
	local.Sh(t, w.Session, "echo of-"+task+" >$HOME/kept; for d in /tmp /var/tmp /dev/shm; do echo of-"+task+" >$d/kept; done")
	cmd := w.Command(t.Context(), "sh", "-c", `while read line; do echo "$line"; done`, "secret-argument")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { in.Close(); cmd.Wait() })
	w.in, w.out = in, bufio.NewReader(out)
	return w
}

// started returns when each container of the pool was started, with the warden's.
func (s *scene) started(t *testing.T) map[string]string {
	t.Helper()
	list, err := s.Docker.ContainerList(t.Context(), client.ContainerListOptions{All: true, Filters: make(client.Filters).Add("label", "berth.pool="+s.Name)})
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]string)
	for _, c := range list.Items {
		in, err := s.Docker.ContainerInspect(t.Context(), c.ID, client.ContainerInspectOptions{})
		if err != nil {
			t.Fatal(err)
		}
		found[c.ID] = in.Container.State.StartedAt
	}
	if len(found) < 3 {
		t.Errorf("the pool has %d containers, want two of sessions and the warden's", len(found))
	}
	return found
}

// checkUnharmed checks that everybody but the hostile sessions is as before.
func (s *scene) checkUnharmed(t *testing.T) {
	t.Helper()
	for task, w := range map[string]*witness{"neighbour": s.neighbour, "away": s.away} {
		if _, err := io.WriteString(w.in, "alive\n"); err != nil {
			t.Fatalf("%s: %v", task, err)
		}
		if line, err := w.out.ReadString('\n'); err != nil || line != "alive\n" {
			t.Fatalf("the command of %s says %q, %v", task, line, err)
		}
		out := local.Sh(t, w.Session, `cat $HOME/kept /tmp/kept /var/tmp/kept /dev/shm/kept | sort -u
			cd /tmp && echo x >new && mkfifo pipe && ln -s new link && cat link && rm new pipe link && git -C "$OLDPWD" status --porcelain && ls -A /tmp /var/tmp /dev/shm | grep -v : | sort -u`)
		if want := "of-" + task + "\nx\n\nkept"; out != want {
			t.Errorf("the session %s sees %q, want %q", task, out, want)
		}
	}
	now := s.started(t)
	for id, at := range s.containers {
		if now[id] != at {
			t.Errorf("container %s was started at %s, and now at %q", id, at, now[id])
		}
	}
}

// run lets a session run a shell script in which $h is the hostile program. The script fails the test if it says harm or does not
// end with done.
func (s *scene) run(t *testing.T, by *berth.Session, script string) string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	out, err := by.Command(ctx, "sh", "-c", "h="+s.hostile+"; "+script).CombinedOutput()
	if err != nil || bytes.Contains(out, []byte("harm")) || !bytes.HasSuffix(out, []byte("done\n")) {
		t.Errorf("%s: %v\n%s", script, err, out)
	}
	return string(out)
}

// keep starts a script as run does, and returns when it has printed a word. stop ends it.
func (s *scene) keep(t *testing.T, by *berth.Session, script, until string) (said string, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cmd := by.Command(ctx, "sh", "-c", "exec 2>&1; h="+s.hostile+"; "+script)
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	stop = func() {
		in.Close()
		cancel()
		go io.Copy(io.Discard, out)
		cmd.Wait()
	}
	lines := bufio.NewReader(out)
	for {
		line, err := lines.ReadString('\n')
		said += line
		if strings.HasPrefix(line, until) {
			return said, stop
		}
		if err != nil || strings.HasPrefix(line, "harm") {
			t.Errorf("%s says %q and no %q, %v", script, said, until, err)
			return said, stop
		}
	}
}
