package berth_test

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/gittest"
	"github.com/berth-go/berth/internal/testenv"
)

// TestLocalRemoteInTrouble: what a remote does to one task is over with it, and the next on the same repository is well.
func TestLocalRemoteInTrouble(t *testing.T) {
	l := newLocal(t, berth.Config{})
	remote := l.git.Create("org/r", gittest.Small())
	remote.RequireCredentials("robot", "s3cret-token")
	url := strings.Replace(remote.URL(), "://", "://robot:s3cret-token@", 1)
	well := func() {
		remote.Refuse(0)
		remote.CutAfter(0)
		remote.Delay(0)
	}
	// fails creates a session that must fail with git's words while it fetches.
	fails := func(t *testing.T, branch, words string) {
		t.Helper()
		_, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "user", Repository: url, Branch: branch})
		failure, ok := errors.AsType[*berth.StartError](err)
		if !ok || failure.Phase != "fetching" || !strings.Contains(err.Error(), words) {
			t.Errorf("got %v, want a *StartError of phase fetching that says %q", err, words)
		}
		if err != nil && strings.Contains(err.Error(), "s3cret") {
			t.Errorf("the error holds the credential: %v", err)
		}
	}

	for _, test := range []struct {
		name    string
		trouble func()
		words   string
	}{
		{"it refuses", func() { remote.Refuse(503) }, "503"},
		{"it breaks off", func() { remote.CutAfter(20_000) }, "fetch-pack"},
	} {
		t.Run(test.name, func(t *testing.T) {
			test.trouble()
			fails(t, "", test.words)
			waitGone(t, l)
			holds(t, l, 0)
			well()
			worksAndEnds(t, l, url)
		})
		removeMirrors(t, l) // so that each begins with a clone
	}

	t.Run("it never answers", func(t *testing.T) {
		remote.Delay(time.Hour)
		defer well()
		ctx, giveUp := context.WithCancel(t.Context())
		defer giveUp()
		asked := remote.Requests()
		failed := make(chan error, 1)
		go func() {
			_, err := l.CreateSession(ctx, berth.SessionRequest{TaskID: "t", UserID: "user", Repository: url})
			failed <- err
		}()
		for remote.Requests() == asked {
			select {
			case err := <-failed:
				t.Fatalf("before it was asked: %v", err)
			case <-time.After(10 * time.Millisecond):
			}
		}
		giveUp()
		if err := <-failed; !errors.Is(err, context.Canceled) {
			t.Errorf("a caller that gave up got %v", err)
		}
		waitGone(t, l)
		holds(t, l, 0)
		well()
		worksAndEnds(t, l, url)
	})

	if testenv.Soak() { // git waits for a minute
		t.Run("it never answers, and nobody gives up", func(t *testing.T) {
			remote.Delay(time.Hour)
			defer well()
			fails(t, "", "Operation too slow")
			waitGone(t, l)
			holds(t, l, 0)
			well()
			worksAndEnds(t, l, url)
		})
	}

	t.Run("beside a task that runs", func(t *testing.T) {
		s := l.create("runs", url, "")
		remote.Commit("late", "late.txt", "late\n") // which the mirror lacks, so that it must be fetched
		remote.Refuse(503)
		fails(t, "late", "503")
		well()
		_, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "user", Repository: url, Branch: "absent"})
		if failure, ok := errors.AsType[*berth.StartError](err); !ok || failure.Phase != "checkout" || !strings.Contains(err.Error(), "absent") {
			t.Errorf("got %v, want a *StartError of phase checkout that names the branch", err)
		}
		holds(t, l, 1)
		sh(t, s, "git fsck --full && git status")
		next := l.create("t", url, "late")
		if next.Info().Container != s.Info().Container {
			t.Errorf("the next task is in %v, not in %v", next.Info().Container, s.Info().Container)
		}
		sh(t, next, "cat late.txt")
	})
}

// holds fails the test unless so many slots are held.
func holds(t testing.TB, l *local, want int) {
	t.Helper()
	for in, err := range l.Instances(t.Context()) {
		if err != nil || in.Tasks != want {
			t.Errorf("%d slots are held, want %d; %v", in.Tasks, want, err)
		}
	}
}

// worksAndEnds creates a session as the task that failed, uses it and ends it.
func worksAndEnds(t testing.TB, l *local, url string) {
	t.Helper()
	s, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "user", Repository: url})
	if err != nil {
		t.Fatalf("the next task: %v", err)
	}
	sh(t, s, "git fsck --full")
	if err := l.TerminateSession(t.Context(), s.ID()); err != nil {
		t.Error(err)
	}
	waitGone(t, l)
}

// removeMirrors removes the pool's mirrors behind its back.
func removeMirrors(t testing.TB, l *local) {
	t.Helper()
	filter := make(client.Filters).Add("label", "berth.pool="+l.name).Add("label", "berth.kind=mirror")
	list, err := l.docker.VolumeList(t.Context(), client.VolumeListOptions{Filters: filter})
	if err != nil || len(list.Items) == 0 {
		t.Fatalf("the mirrors are %v, %v", list.Items, err)
	}
	for _, v := range list.Items {
		if _, err := l.docker.VolumeRemove(t.Context(), v.Name, client.VolumeRemoveOptions{}); err != nil {
			t.Error(err)
		}
	}
}

func TestLocalImageMissingSaysWhatToDo(t *testing.T) {
	const image = "berth.invalid/no/such:image"
	l := newLocal(t, berth.Config{Image: image})
	_, err := l.CreateSession(t.Context(), berth.SessionRequest{
		TaskID: "t", UserID: "u", Repository: l.git.Create("org/r", gittest.Small()).URL(),
	})
	for _, words := range []string{"docker pull " + image, "Config.Image", l.docker.DaemonHost()} {
		if err == nil || !strings.Contains(err.Error(), words) {
			t.Errorf("the error does not say %q: %v", words, err)
		}
	}
	holds(t, l, 0)
}

func TestLocalContainerRemovedFromOutside(t *testing.T) {
	l := newLocal(t, berth.Config{})
	remote := l.git.Create("org/r", gittest.Small())
	a, b := l.create("a", remote.URL(), ""), l.create("b", remote.URL(), "dev")
	at := a.Info().Container
	if _, err := l.docker.ContainerRemove(t.Context(), at.ID, client.ContainerRemoveOptions{Force: true}); err != nil {
		t.Fatal(err)
	}
	for _, s := range []*berth.Session{a, b} {
		select {
		case <-s.Done():
		case <-time.After(20 * time.Second):
			t.Fatal("Done was not closed")
		}
		if err := s.Err(); !errors.Is(err, berth.ErrContainerLost) || !strings.Contains(err.Error(), at.Name) {
			t.Errorf("it ended with %v, want ErrContainerLost and the container's name", err)
		}
		if err := s.Command(t.Context(), "true").Run(); !errors.Is(err, berth.ErrContainerLost) {
			t.Errorf("a command afterwards: %v", err)
		}
	}
	again := l.create("a", remote.URL(), "")
	if again.Info().Start != berth.StartWarm || again.Info().Container.ID == at.ID {
		t.Errorf("the next task starts %s in %v", again.Info().Start, again.Info().Container)
	}
	sh(t, again, "git fsck --full")
}
