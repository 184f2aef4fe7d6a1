// Package local is a kit for tests of berth on this machine's Docker engine. Its own tests are those of NewLocalProvider
// with a real engine, a real agent and a real git server. No program links it.
package local

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/testenv"
)

// Pool is a Provider on the real engine, with a real git server beside it.
type Pool struct {
	*berth.Provider
	T      testing.TB
	Name   string
	Docker *client.Client
	Git    *gittest.SmartServer
}

// New returns a Provider that is destroyed when the test ends. The test fails if something of the pool is left then.
func New(t testing.TB, cfg berth.Config) *Pool {
	t.Helper()
	return newPool(t, testenv.PoolName(t), cfg)
}

func newPool(t testing.TB, name string, cfg berth.Config) *Pool {
	t.Helper()
	l := &Pool{T: t, Docker: testenv.Docker(t), Name: name, Git: gittest.NewSmartServer(t)}
	cfg.Name = l.Name
	if cfg.Image == "" {
		cfg.Image = testenv.Image(t)
	}
	if cfg.Egress.IsZero() {
		cfg.Egress = gittest.Egress()
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

// Create creates a session, which must succeed.
func (l *Pool) Create(task, url, branch string) *berth.Session {
	l.T.Helper()
	s, err := l.CreateSession(l.T.Context(), berth.SessionRequest{TaskID: task, UserID: "user", Repository: url, Branch: branch})
	if err != nil {
		l.T.Fatal(err)
	}
	return s
}

// Inside runs a shell script in a container of the pool as root, beside the agent, and returns what it printed.
func (l *Pool) Inside(container, script string) string {
	l.T.Helper()
	ctx := context.Background()
	made, err := l.Docker.ExecCreate(ctx, container, client.ExecCreateOptions{Cmd: []string{"sh", "-c", script}, AttachStdout: true, AttachStderr: true, TTY: true})
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
	return strings.TrimSpace(string(out))
}

// Containers returns the IDs of the pool's containers of sessions, as the engine lists them, by name.
func (l *Pool) Containers() map[string]string {
	l.T.Helper()
	return l.listed(true)
}

// Running is Containers without those that have not started or have exited.
func (l *Pool) Running() map[string]string {
	l.T.Helper()
	return l.listed(false)
}

func (l *Pool) listed(all bool) map[string]string {
	l.T.Helper()
	list, err := l.Docker.ContainerList(context.Background(), client.ContainerListOptions{
		All: all, Filters: make(client.Filters).Add("label", "berth.pool="+l.Name).Add("label", "berth.kind=container"),
	})
	if err != nil {
		l.T.Fatal(err)
	}
	ids := make(map[string]string)
	for _, c := range list.Items {
		ids[strings.TrimPrefix(c.Names[0], "/")] = c.ID
	}
	return ids
}

// WaitGone fails the test unless the pool's containers are gone soon.
func (l *Pool) WaitGone(t testing.TB) {
	t.Helper()
	for deadline := time.Now().Add(2 * time.Minute); len(l.Containers()) > 0; {
		if time.Now().After(deadline) {
			t.Fatalf("left: %v", l.Containers())
		}
		select {
		case <-t.Context().Done():
		case <-time.After(50 * time.Millisecond):
		}
	}
}

// Sh runs a shell script in a session and returns what it printed.
func Sh(t testing.TB, s *berth.Session, script string) string {
	t.Helper()
	out, err := s.Command(t.Context(), "sh", "-c", script).CombinedOutput()
	if err != nil {
		t.Fatalf("%s: %v\n%s", script, err, out)
	}
	return strings.TrimSpace(string(out))
}
