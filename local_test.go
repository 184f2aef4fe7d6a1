package berth_test

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/gittest"
	"github.com/berth-go/berth/internal/testenv"
	"github.com/berth-go/berth/orchestrator"
)

// local is a Provider on the real engine, with a real git server beside it.
type local struct {
	*berth.Provider
	t      testing.TB
	name   string
	docker *client.Client
	git    *gittest.SmartServer
}

// newLocal returns a Provider that is destroyed at the test's end, which then checks that nothing of it is left.
func newLocal(t testing.TB, cfg berth.Config) *local {
	t.Helper()
	l := &local{t: t, docker: testenv.Docker(t), name: testenv.PoolName(t), git: gittest.NewSmartServer(t)}
	cfg.Name = l.name
	if cfg.Image == "" {
		cfg.Image = testenv.Image(t)
	}
	p, err := berth.NewLocalProvider(t.Context(), cfg)
	if err != nil {
		t.Fatal(err)
	}
	l.Provider = p
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), 2*time.Minute)
		defer cancel()
		if err := p.Destroy(ctx); err != nil && !errors.Is(err, berth.ErrClosed) {
			t.Error(err)
		}
	})
	return l
}

func (l *local) create(task, url, branch string) *berth.Session {
	l.t.Helper()
	s, err := l.CreateSession(l.t.Context(), berth.SessionRequest{TaskID: task, UserID: "user", Repository: url, Branch: branch})
	if err != nil {
		l.t.Fatal(err)
	}
	return s
}

// containers returns the IDs of the pool's containers, as the engine lists them, by name.
func (l *local) containers() map[string]string {
	l.t.Helper()
	return l.listed(true)
}

// running is containers without those that do not run: that were only made, or have exited.
func (l *local) running() map[string]string {
	l.t.Helper()
	return l.listed(false)
}

func (l *local) listed(all bool) map[string]string {
	l.t.Helper()
	list, err := l.docker.ContainerList(context.Background(), client.ContainerListOptions{
		All: all, Filters: make(client.Filters).Add("label", "berth.pool="+l.name),
	})
	if err != nil {
		l.t.Fatal(err)
	}
	ids := make(map[string]string)
	for _, c := range list.Items {
		ids[strings.TrimPrefix(c.Names[0], "/")] = c.ID
	}
	return ids
}

// sh runs a shell script in a session and returns what it printed.
func sh(t testing.TB, s *berth.Session, script string) string {
	t.Helper()
	out, err := s.Command(t.Context(), "sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}

func TestLocalTasksOfOneRepositoryShareOneContainer(t *testing.T) {
	l := newLocal(t, berth.Config{})
	remote := l.git.Create("Org/Small", gittest.Small())
	a := l.create("a", remote.URL(), "")
	b := l.create("b", strings.TrimSuffix(remote.URL(), ".git")+"/", "dev")
	if len(l.containers()) != 1 || a.Info().Container != b.Info().Container {
		t.Fatalf("two spellings got the containers %v: %v, %v", l.containers(), a.Info().Container, b.Info().Container)
	}
	if a.Info().Start != berth.StartCold || b.Info().Start != berth.StartAttached {
		t.Errorf("they started %s and %s", a.Info().Start, b.Info().Start)
	}
	for s, branch := range map[*berth.Session]string{a: "main", b: "dev"} {
		want := s.Info().Workdir + "\n" + branch + "\n" + remote.Head(branch)
		if got := sh(t, s, "pwd; git branch --show-current; git rev-parse HEAD; git status --porcelain"); got != want {
			t.Errorf("the checkout of %s:\n%s\nwant\n%s", branch, got, want)
		}
	}
	if out, err := b.Command(t.Context(), "ls", a.Info().Workdir).CombinedOutput(); err == nil {
		t.Errorf("one session reads the other's checkout: %s", out)
	}
	// A push goes to the real remote.
	sh(t, a, "echo x > new.txt; git add new.txt; git commit -q -m 'A change'; git push -q origin HEAD:refs/heads/a-change 2>&1")
	if remote.Head("a-change") != sh(t, a, "git rev-parse HEAD") {
		t.Error("the push did not arrive")
	}
	if err := l.TerminateSession(t.Context(), a.ID()); err != nil {
		t.Fatal(err)
	}
	if len(l.containers()) != 1 {
		t.Error("the container did not stay for its second task")
	}
	if err := l.TerminateSession(t.Context(), b.ID()); err != nil {
		t.Fatal(err)
	}
	if left := l.containers(); len(left) != 0 {
		t.Errorf("its last task has ended, and it is still there: %v", left)
	}
	if s := l.create("c", remote.URL(), "a-change"); s.Info().Start != berth.StartWarm {
		t.Errorf("after that a task started %s", s.Info().Start)
	}
}

func TestLocalFailuresLeaveNothingAndHurtNobody(t *testing.T) {
	l := newLocal(t, berth.Config{})
	good := l.git.Create("org/good", gittest.Small())
	secret := l.git.Create("org/secret", gittest.Small())
	secret.RequireCredentials("robot", "s3cret-token")
	withSecret := strings.Replace(secret.URL(), "://", "://robot:wrong-pa55word@", 1)

	for _, test := range []struct {
		name, url, branch string
		phase, message    string
	}{
		{"no such repository", strings.Replace(good.URL(), "good", "absent", 1), "", "fetching", "not found"},
		{"nobody answers", "http://172.17.0.1:9/org/x.git", "", "fetching", "172.17.0.1"},
		{"a credential is needed", secret.URL(), "", "fetching", "could not read Username"},
		{"the credential is wrong", withSecret, "", "fetching", "uthentication"},
		{"no such branch", good.URL(), "no-such-branch", "checkout", "no-such-branch"},
	} {
		t.Run(test.name, func(t *testing.T) {
			_, err := l.CreateSession(t.Context(), berth.SessionRequest{
				TaskID: "t", UserID: "user", Repository: test.url, Branch: test.branch,
			})
			failure, ok := errors.AsType[*berth.StartError](err)
			if !ok {
				t.Fatalf("got %v, want a *StartError", err)
			}
			if failure.Phase != test.phase || !strings.Contains(failure.Error(), test.message) {
				t.Errorf("got phase %q, %v; want phase %q and %q", failure.Phase, failure, test.phase, test.message)
			}
			if strings.Contains(err.Error(), "pa55word") {
				t.Errorf("the error holds the credential: %v", err)
			}
			waitGone(t, l)
			for in := range l.Instances(t.Context()) {
				if in.Tasks != 0 {
					t.Errorf("%d slots are held", in.Tasks)
				}
			}
		})
	}
	if s := l.create("again", strings.Replace(secret.URL(), "://", "://robot:s3cret-token@", 1), ""); sh(t, s, "git log --oneline | wc -l") != "400" {
		t.Error("with the right credential it does not work")
	} else {
		out := sh(t, s, "cat .git/config; env") // and for processes, see TestLocalCredentialIsNotSeenDuringAFetch
		if strings.Contains(out, "s3cret-token") {
			t.Errorf("the credential can be seen in the session:\n%s", out)
		}
	}
	l.create("good", good.URL(), "main")
}

// waitGone fails the test unless the pool's containers are gone soon.
func waitGone(t testing.TB, l *local) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); len(l.containers()) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("left: %v", l.containers())
		}
		select {
		case <-t.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

func TestLocalImageMissing(t *testing.T) {
	l := newLocal(t, berth.Config{Image: "berth.invalid/no/such:image"})
	remote := l.git.Create("org/r", gittest.Small())
	_, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "u", Repository: remote.URL()})
	if failure, ok := errors.AsType[*berth.StartError](err); !ok || failure.Phase != "starting" {
		t.Fatalf("got %v, want a *StartError of phase starting", err)
	}
	if !errors.Is(err, orchestrator.ErrImage) || !strings.Contains(err.Error(), "berth.invalid/no/such:image") {
		t.Errorf("the error does not name the image: %v", err)
	}
	waitGone(t, l)
}

func TestLocalNoEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
	_, err := berth.NewLocalProvider(t.Context(), berth.Config{})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/docker.sock") {
		t.Errorf("got %v, want an error that names the address", err)
	}
}

func TestLocalContainerKilledFromOutside(t *testing.T) {
	l := newLocal(t, berth.Config{})
	remote := l.git.Create("org/r", gittest.Small())
	s := l.create("t", remote.URL(), "")
	running := s.Command(t.Context(), "sleep", "1000")
	if err := running.Start(); err != nil {
		t.Fatal(err)
	}
	if _, err := l.docker.ContainerKill(t.Context(), s.Info().Container.ID, client.ContainerKillOptions{Signal: "KILL"}); err != nil {
		t.Fatal(err)
	}
	select {
	case <-s.Done():
	case <-time.After(20 * time.Second):
		t.Fatal("Done was not closed")
	}
	if !errors.Is(s.Err(), berth.ErrContainerLost) {
		t.Errorf("it ended with %v, want ErrContainerLost", s.Err())
	}
	if err := running.Wait(); !errors.Is(err, berth.ErrContainerLost) && !errors.Is(err, agent.ErrGone) {
		t.Errorf("its command ended with %v", err)
	}
	if again := l.create("t", remote.URL(), ""); again.ID() == s.ID() || sh(t, again, "echo well") != "well" {
		t.Error("the next task is not well")
	}
}

func TestLocalTerminateKillsEverything(t *testing.T) {
	l := newLocal(t, berth.Config{})
	remote := l.git.Create("org/r", gittest.Small())
	keep := l.create("keep", remote.URL(), "")
	s := l.create("t", remote.URL(), "")
	sh(t, s, "touch /tmp/of-t /var/tmp/of-t /dev/shm/of-t; (sleep 1234 >/dev/null 2>&1 &); nohup sh -c 'sleep 1235 &' >/dev/null 2>&1")
	bomb := s.Command(t.Context(), "sh", "-c", "f() { f | f & }; f; sleep 1236")
	if err := bomb.Start(); err != nil {
		t.Fatal(err)
	}
	uid := sh(t, keep, fmt.Sprintf("stat -c %%u /sessions/%s", s.ID()))
	if err := l.TerminateSession(t.Context(), s.ID()); err != nil {
		t.Fatal(err)
	}
	if err := bomb.Wait(); err == nil { // killed with the session, or by its own lack of room
		t.Error("the fork bomb ended well")
	}
	if left := sh(t, keep, "ps -eo uid,args | awk '$1 == "+uid+"'; find /tmp /var/tmp /dev/shm /sessions -uid "+uid+" 2>/dev/null; true"); left != "" {
		t.Errorf("left of the session:\n%s", left)
	}
}
