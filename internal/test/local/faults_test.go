package local_test

import (
	"context"
	"errors"
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

// troubled is a pool and a remote that is to have a fault.
type troubled struct {
	*local.Pool
	remote *gittest.Remote
	url    string // with its credential
}

func newTroubled(t *testing.T) *troubled {
	t.Helper()
	l := local.New(t, berth.Config{})
	remote := l.Git.Create("org/r", gittest.Small())
	remote.RequireCredentials("robot", "s3cret-token")
	return &troubled{l, remote, strings.Replace(remote.URL(), "://", "://robot:s3cret-token@", 1)}
}

// fails creates a session whose fetch must fail with git's message, and ends the fault.
func (l *troubled) fails(t *testing.T, branch, words string) {
	t.Helper()
	_, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "user", Repository: l.url, Branch: branch})
	failure, ok := errors.AsType[*berth.StartError](err)
	if !ok || failure.Phase != "fetching" || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want a *StartError of phase fetching that says %q", err, words)
	}
	if err != nil && strings.Contains(err.Error(), "s3cret") {
		t.Errorf("the error holds the credential: %v", err)
	}
	l.heal()
}

func (l *troubled) heal() {
	l.remote.Refuse(0)
	l.remote.CutAfter(0)
	l.remote.Delay(0)
}

// nextWorks fails the test unless nothing is left of a task that failed, and the next one on the same repository works.
func (l *troubled) nextWorks(t *testing.T) {
	t.Helper()
	l.WaitGone(t)
	holds(t, l.Pool, 0)
	s, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "user", Repository: l.url})
	if err != nil {
		t.Fatalf("the next task: %v", err)
	}
	local.Sh(t, s, "git fsck --full")
	if err := l.TerminateSession(t.Context(), s.ID()); err != nil {
		t.Error(err)
	}
	l.WaitGone(t)
}

// TestLocalRemoteInTrouble: a fault of a remote fails one task. The next task on the same repository succeeds.
func TestLocalRemoteInTrouble(t *testing.T) {
	t.Parallel()
	for _, test := range []struct {
		name    string
		trouble func(remote *gittest.Remote)
		words   string
		soak    bool
	}{
		{"it refuses", func(r *gittest.Remote) { r.Refuse(503) }, "503", false},
		{"it breaks off", func(r *gittest.Remote) { r.CutAfter(20_000) }, "fetch-pack", false},
		{"it never answers", func(r *gittest.Remote) { r.Delay(time.Hour) }, "Operation too slow", true}, // git waits for a minute
	} {
		t.Run(test.name, func(t *testing.T) {
			if test.soak && !testenv.Soak() {
				t.Skip("it takes minutes")
			}
			t.Parallel()
			l := newTroubled(t)
			test.trouble(l.remote)
			l.fails(t, "", test.words)
			l.nextWorks(t)
		})
	}
}

func TestLocalRemoteThatDoesNotAnswerACallerWhoGivesUp(t *testing.T) {
	t.Parallel()
	l := newTroubled(t)
	l.remote.Delay(time.Hour)
	defer l.heal()
	ctx, giveUp := context.WithCancel(t.Context())
	defer giveUp()
	asked := l.remote.Requests()
	failed := make(chan error, 1)
	go func() {
		_, err := l.CreateSession(ctx, berth.SessionRequest{TaskID: "t", UserID: "user", Repository: l.url})
		failed <- err
	}()
	for l.remote.Requests() == asked {
		select {
		case err := <-failed:
			t.Fatalf("before the request reached the remote: %v", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
	giveUp()
	if err := <-failed; !errors.Is(err, context.Canceled) {
		t.Errorf("a caller that gave up got %v", err)
	}
	l.heal()
	l.nextWorks(t)
}

func TestLocalRemoteInTroubleBesideATaskThatRuns(t *testing.T) {
	t.Parallel()
	l := newTroubled(t)
	s := l.Create("runs", l.url, "")
	l.remote.Commit("late", "late.txt", "late\n") // the mirror lacks it, so it must be fetched
	l.remote.Refuse(503)
	l.fails(t, "late", "503")
	_, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "user", Repository: l.url, Branch: "absent"})
	if failure, ok := errors.AsType[*berth.StartError](err); !ok || failure.Phase != "checkout" || !strings.Contains(err.Error(), "absent") {
		t.Errorf("got %v, want a *StartError of phase checkout that names the branch", err)
	}
	holds(t, l.Pool, 1)
	local.Sh(t, s, "git fsck --full && git status")
	next := l.Create("t", l.url, "late")
	if next.Info().Container != s.Info().Container {
		t.Errorf("the next task is in %v, not in %v", next.Info().Container, s.Info().Container)
	}
	local.Sh(t, next, "cat late.txt")
}

// holds fails the test unless want slots are held.
func holds(t testing.TB, l *local.Pool, want int) {
	t.Helper()
	for in, err := range l.Instances(t.Context()) {
		if err != nil || in.Tasks != want {
			t.Errorf("%d slots are held, want %d; %v", in.Tasks, want, err)
		}
	}
}

func TestLocalContainerRemovedFromOutside(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{})
	remote := l.Git.Create("org/r", gittest.Small())
	a, b := l.Create("a", remote.URL(), ""), l.Create("b", remote.URL(), "dev")
	at := a.Info().Container
	if _, err := l.Docker.ContainerRemove(t.Context(), at.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*berth.Session{a, b} {
		select {
		case <-s.Done():
		case <-time.After(5 * time.Minute):
			t.Fatal("Done was not closed")
		}
		if err := s.Err(); !errors.Is(err, berth.ErrContainerLost) || !strings.Contains(err.Error(), at.Name) {
			t.Errorf("it ended with %v, want ErrContainerLost and the container's name", err)
		}
		if err := s.Command(t.Context(), "true").Run(); !errors.Is(err, berth.ErrContainerLost) {
			t.Errorf("a command afterwards: %v", err)
		}
	}
	again := l.Create("a", remote.URL(), "")
	if again.Info().Start != berth.StartWarm || again.Info().Container.ID == at.ID {
		t.Errorf("the next task starts %s in %v", again.Info().Start, again.Info().Container)
	}
	local.Sh(t, again, "git fsck --full")
}

func TestLocalImageMissing(t *testing.T) {
	t.Parallel()
	const image = "berth.invalid/no/such:image"
	l := local.New(t, berth.Config{Image: image})
	remote := l.Git.Create("org/r", gittest.Small())
	_, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "u", Repository: remote.URL()})
	if failure, ok := errors.AsType[*berth.StartError](err); !ok || failure.Phase != "starting" || !errors.Is(err, orchestrator.ErrImage) {
		t.Fatalf("got %v, want a *StartError of phase starting that is ErrImage", err)
	}
	for _, words := range []string{"docker pull " + image, "Config.Image", l.Docker.DaemonHost()} {
		if !strings.Contains(err.Error(), words) {
			t.Errorf("the error does not say %q: %v", words, err)
		}
	}
	l.WaitGone(t)
	holds(t, l, 0)
}
