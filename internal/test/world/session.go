package world

import (
	"context"
	"testing"
	"testing/synctest"

	"github.com/berth-go/berth"
)

// Repositories and users of the tests.
const (
	RepoA = "https://github.com/acme/rocket"
	RepoB = "https://github.com/acme/skates"

	User      = "wile" // the user of Request
	OtherUser = "runner"
)

// Request returns a request of User.
func Request(task, repo string) berth.SessionRequest {
	return berth.SessionRequest{TaskID: task, UserID: User, Repository: repo}
}

// Create creates a session of User, which must succeed.
func (w *World) Create(task, repo string) *berth.Session {
	w.T.Helper()
	return Create(w.T, w.Provider, Request(task, repo))
}

// Create creates a session, which must succeed.
func Create(t testing.TB, p *berth.Provider, r berth.SessionRequest) *berth.Session {
	t.Helper()
	s, err := p.CreateSession(t.Context(), r)
	if err != nil {
		t.Fatalf("creating %s: %v", r.TaskID, err)
	}
	return s
}

// Terminate terminates a session, which must succeed.
func (w *World) Terminate(s *berth.Session) {
	w.T.Helper()
	if err := w.TerminateSession(w.T.Context(), s.ID()); err != nil {
		w.T.Fatalf("terminating %s: %v", s.Info().TaskID, err)
	}
}

// Get returns a session that must be there.
func Get(t testing.TB, p *berth.Provider, id string) *berth.Session {
	t.Helper()
	s, err := p.GetSession(t.Context(), id)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// Result has the results of CreateSession.
type Result struct {
	Session *berth.Session
	Err     error
}

// Creating calls CreateSession in the background.
func Creating(ctx context.Context, p *berth.Provider, r berth.SessionRequest) <-chan Result {
	c := make(chan Result, 1)
	go func() {
		s, err := p.CreateSession(ctx, r)
		c <- Result{s, err}
	}()
	return c
}

// Pending fails the test if a call of Creating has returned. why says what the call should be waiting for.
func (w *World) Pending(c <-chan Result, why string) {
	w.T.Helper()
	synctest.Wait()
	select {
	case r := <-c:
		w.T.Fatalf("CreateSession returned %v, %v; but %s", r.Session, r.Err, why)
	default:
	}
}
