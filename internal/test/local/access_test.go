package local_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/moby/moby/client"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/naming"
)

// TestLocalAccessIsProven: a user without a token does not get into the container of a private repository.
func TestLocalAccessIsProven(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{MirrorMaxAge: -1})
	vault, open := l.Git.Create("org/vault", gittest.Small()), l.Git.Create("org/open", gittest.Small())
	vault.RequireCredentials("robot", "s3cret-token")
	create := func(task, user, url string) error {
		_, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: task, UserID: user, Repository: url})
		return err
	}
	with := func(remote *gittest.Remote, password string) string {
		return strings.Replace(remote.URL(), "://", "://robot:"+password+"@", 1)
	}
	ann := l.Create("ann", with(vault, "s3cret-token"), "")
	for i, url := range []string{vault.URL(), with(vault, "wr0ng-token")} {
		err := create("eve", "eve", url)
		if !errors.Is(err, berth.ErrAccessDenied) || strings.Contains(err.Error(), "wr0ng") {
			t.Errorf("%d: %v", i, err)
		}
	}
	for _, c := range []struct {
		task string
		asks bool
	}{{"bob-1", true}, {"bob-2", false}} {
		before := vault.Requests()
		if err := create(c.task, "bob", with(vault, "s3cret-token")); err != nil {
			t.Errorf("%s: %v", c.task, err)
		}
		if asked := vault.Requests() != before; asked != c.asks {
			t.Errorf("%s: the remote was asked: %v", c.task, asked)
		}
	}
	sessions := strings.Fields(local.Sh(t, ann, "getent passwd | grep -o 'berth[0-9]\\{5\\}' | sort -u"))
	if len(sessions) != 3 {
		t.Errorf("the container has the sessions %q, want 3", sessions)
	}
	l.Create("first", open.URL(), "")
	before := open.Requests()
	for task, url := range map[string]string{"anonymous": open.URL(), "token": with(open, "any-token")} {
		if err := create(task, "eve", url); err != nil {
			t.Errorf("%s: %v", task, err)
		}
	}
	if n := open.Requests() - before; n != 0 {
		t.Errorf("attaching to a public repository took %d requests", n)
	}
}

// TestLocalPrivateRepositoryLeavesNothing: its mirror goes with its container.
func TestLocalPrivateRepositoryLeavesNothing(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{Sharing: berth.Sharing{Private: func(naming.Repository) bool { return true }}})
	remote := l.Git.Create("org/own", gittest.Small())
	a, b := l.Create("a", remote.URL(), ""), l.Create("b", remote.URL(), "")
	if a.Info().Container == b.Info().Container {
		t.Error("they share a container")
	}
	for _, s := range []*berth.Session{a, b} {
		if err := l.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Error(err)
		}
	}
	l.WaitGone(t)
	for _, s := range []*berth.Session{a, b} {
		if _, err := l.Docker.VolumeInspect(t.Context(), s.Info().Container.Name, client.VolumeInspectOptions{}); err == nil {
			t.Errorf("the mirror of %s is left", s.Info().TaskID)
		}
	}
}
