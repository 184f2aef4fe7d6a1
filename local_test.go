package berth_test

import (
	"errors"
	"net"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/orchestrator"
)

// TestLocalAddressesThatAreNotSpokenTo: NewLocalProvider refuses these addresses without a connection, and the error
// says what to do.
func TestLocalAddressesThatAreNotSpokenTo(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	for _, c := range []struct {
		host, verify string
		want         []string
	}{
		{host: "ssh://wile:" + world.Secret + "@build.example", want: []string{"ssh", "-L ", "DOCKER_HOST=unix://"}},
		{host: "npipe:////./pipe/docker_engine", want: []string{"named pipe", "WSL", "tcp://localhost:2375"}},
		{host: "http://wile:" + world.Secret + "@build.example", want: []string{"must begin with unix:// or tcp://"}},
		{host: world.Secret, want: []string{"must begin with unix:// or tcp://, "}},
		{host: "tcp://", want: []string{"name a socket or a host"}},
		{host: "tcp://" + listener.Addr().String(), verify: "1", want: []string{"DOCKER_TLS_VERIFY", "DOCKER_HOST=unix://", "New"}},
	} {
		t.Run(c.want[0], func(t *testing.T) {
			t.Setenv("DOCKER_HOST", c.host)
			t.Setenv("DOCKER_TLS_VERIFY", c.verify)
			p, err := berth.NewLocalProvider(t.Context(), berth.Config{})
			if err == nil {
				p.Close()
				t.Fatal("no error")
			}
			if e, ok := errors.AsType[*berth.FieldError](err); !ok || e.Field != "DOCKER_HOST" || !errors.Is(err, berth.ErrInvalid) {
				t.Errorf("no FieldError of DOCKER_HOST: %v", err)
			}
			for _, want := range c.want {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error does not say %q: %v", want, err)
				}
			}
			if strings.Contains(err.Error(), world.Secret) {
				t.Errorf("the error holds a password: %v", err)
			}
		})
	}
	listener.(*net.TCPListener).SetDeadline(time.Now().Add(10 * time.Millisecond))
	if conn, err := listener.Accept(); err == nil {
		conn.Close()
		t.Error("somebody has connected")
	}
}

// TestLocalSocketNeedsNoTLS: DOCKER_TLS_VERIFY does not apply to a local socket.
func TestLocalSocketNeedsNoTLS(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
	t.Setenv("DOCKER_TLS_VERIFY", "1")
	_, err := berth.NewLocalProvider(t.Context(), berth.Config{})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/docker.sock") {
		t.Errorf("%v, want that nothing is there", err)
	}
	if !errors.Is(err, berth.ErrUnavailable) || !errors.Is(err, orchestrator.ErrUnreachable) || !berth.Retryable(err) {
		t.Errorf("%v, want an ErrUnavailable and an ErrUnreachable", err)
	}
}

func TestLocalTasksOfOneRepositoryShareOneContainer(t *testing.T) {
	l := local.New(t, berth.Config{})
	remote := l.Git.Create("Org/Small", gittest.Small())
	a := l.Create("a", remote.URL(), "")
	b := l.Create("b", strings.TrimSuffix(remote.URL(), ".git")+"/", "dev")
	if len(l.Containers()) != 1 || a.Info().Container != b.Info().Container {
		t.Fatalf("two spellings got the containers %v: %v, %v", l.Containers(), a.Info().Container, b.Info().Container)
	}
	if a.Info().Start != berth.StartCold || b.Info().Start != berth.StartAttached {
		t.Errorf("they started %s and %s", a.Info().Start, b.Info().Start)
	}
	for s, branch := range map[*berth.Session]string{a: "main", b: "dev"} {
		want := s.Info().Workdir + "\n" + branch + "\n" + remote.Head(branch)
		if got := local.Sh(t, s, "pwd; git branch --show-current; git rev-parse HEAD; git status --porcelain"); got != want {
			t.Errorf("the checkout of %s:\n%s\nwant\n%s", branch, got, want)
		}
	}
	if out, err := b.Command(t.Context(), "ls", a.Info().Workdir).CombinedOutput(); err == nil {
		t.Errorf("one session reads the other's checkout: %s", out)
	}
	// A push goes to the real remote.
	local.Sh(t, a, "echo x > new.txt; git add new.txt; git commit -q -m 'A change'; git push -q origin HEAD:refs/heads/a-change 2>&1")
	if remote.Head("a-change") != local.Sh(t, a, "git rev-parse HEAD") {
		t.Error("the push did not arrive")
	}
	if err := l.TerminateSession(t.Context(), a.ID()); err != nil {
		t.Fatal(err)
	}
	if len(l.Containers()) != 1 {
		t.Error("the container did not stay for its second task")
	}
	if err := l.TerminateSession(t.Context(), b.ID()); err != nil {
		t.Fatal(err)
	}
	if left := l.Containers(); len(left) != 0 {
		t.Errorf("its last task has ended, and it is still there: %v", left)
	}
	if s := l.Create("c", remote.URL(), "a-change"); s.Info().Start != berth.StartWarm {
		t.Errorf("after that a task started %s", s.Info().Start)
	}
}

func TestLocalNoEngine(t *testing.T) {
	t.Setenv("DOCKER_HOST", "unix:///nonexistent/docker.sock")
	_, err := berth.NewLocalProvider(t.Context(), berth.Config{})
	if err == nil || !strings.Contains(err.Error(), "/nonexistent/docker.sock") {
		t.Errorf("got %v, want an error that names the address", err)
	}
}
