package local_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/work"
)

// tokens is a Config.Credentials whose tokens change.
type tokens struct {
	mu     sync.Mutex
	byUser map[string]string
	asked  []berth.CredentialRequest
}

func (k *tokens) ask(_ context.Context, r berth.CredentialRequest) (berth.Credential, error) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.asked = append(k.asked, r)
	if k.byUser[r.UserID] == "" {
		return berth.Credential{}, errors.New("who is " + r.UserID + "?")
	}
	return berth.Credential{Username: "robot", Password: k.byUser[r.UserID]}, nil
}

func (k *tokens) set(user, token string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	k.byUser[user] = token
}

// requests returns what was asked since the last call.
func (k *tokens) requests() []berth.CredentialRequest {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.asked
	k.asked = nil
	return all
}

// TestLocalGitAsksForCredentials: for the mirror and in the session, each time, for each user, and never after the session's end.
func TestLocalGitAsksForCredentials(t *testing.T) {
	t.Parallel()
	k := &tokens{byUser: map[string]string{"ann": "t0ken-1", "bob": "t0ken-1"}}
	l := local.New(t, berth.Config{Credentials: k.ask, MirrorMaxAge: 1})
	remote := l.Git.Create("org/asked", gittest.Small())
	remote.RequireCredentials("robot", "t0ken-1")
	create := func(task, user string) (*berth.Session, error) {
		return l.CreateSession(t.Context(), berth.SessionRequest{TaskID: task, UserID: user, Repository: remote.URL()})
	}
	ann, err := create("ann", "ann")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := create("eve", "eve"); err == nil || !strings.Contains(err.Error(), "who is eve?") {
		t.Errorf("a user without a token: %v", err)
	}
	bob, err := create("bob", "bob")
	if err != nil {
		t.Fatal(err)
	}
	k.requests()
	const push = "git commit -q --allow-empty -m one && git push -q origin HEAD:refs/heads/$USER 2>&1 && echo pushed"
	// Each token expires between two uses, and neither user notices.
	for i, token := range []string{"t0ken-1", "t0ken-2", "t0ken-3"} {
		remote.RequireCredentials("robot", token)
		k.set("ann", token)
		if got := local.Sh(t, ann, push); got != "pushed" {
			t.Errorf("%d: %s", i, got)
		}
		all := k.requests()
		if len(all) != 1 || all[0].Purpose != berth.PurposePush || all[0].UserID != "ann" || all[0].SessionID != ann.ID() || all[0].Mirror || all[0].URL != remote.URL() {
			t.Errorf("%d: asked %+v", i, all)
		}
	}
	// Another user of the same container has another token, which has expired.
	if got := local.Sh(t, bob, "git fetch 2>&1 || true"); !strings.Contains(got, "Authentication failed") {
		t.Errorf("bob's git says %s", got)
	}
	k.set("bob", "t0ken-3")
	k.requests()
	local.Sh(t, bob, "git fetch 2>&1")
	if all := k.requests(); len(all) != 1 || !all[0].Rejected || all[0].UserID != "bob" || all[0].Purpose != berth.PurposeFetch {
		t.Errorf("asked %+v", all)
	}
	// A host that is not the repository's, a neighbour's socket, and what is left of a token.
	fill := "GIT_TERMINAL_PROMPT=0 git credential fill 2>&1 || true"
	if got := local.Sh(t, bob, "echo url=https://evil.example/org/asked | "+fill); !strings.Contains(got, "evil.example is not the host") {
		t.Errorf("git says %s", got)
	}
	helper := local.Sh(t, ann, "git config --global credential.helper | tail -1")
	if got := local.Sh(t, bob, "echo url="+remote.URL()+" | git -c credential.helper= -c credential.helper='"+helper+"' credential fill 2>&1 || true"); strings.Contains(got, "t0ken") {
		t.Errorf("a neighbour's helper gives %s", got)
	}
	if all := k.requests(); len(all) != 0 {
		t.Errorf("asked %+v", all)
	}
	if got := local.Sh(t, ann, "grep -rlas t0ken $HOME $TMPDIR .git /tmp /dev/shm; cat /proc/[0-9]*/environ /proc/[0-9]*/cmdline 2>/dev/null | grep -a '[t]0ken-3' || true"); got != "" {
		t.Errorf("a token is in %s", got)
	}
	if err := l.TerminateSession(t.Context(), ann.ID()); err != nil {
		t.Error(err)
	}
	if got := l.Inside(ann.Info().Container.Name, "ls -a /sessions/"+ann.ID()+"; grep -rlas t0ken /sessions /tmp /etc /berth/mirror || true"); !strings.Contains(got, "No such file") || strings.Contains(got, "\n") {
		t.Errorf("after the session: %s", got)
	}
}

// TestLocalPushWithATokenThatExpires: Session.Push succeeds though the server refuses the first token.
func TestLocalPushWithATokenThatExpires(t *testing.T) {
	t.Parallel()
	k := &tokens{byUser: map[string]string{"ann": "t0ken-1"}}
	ask := func(ctx context.Context, r berth.CredentialRequest) (berth.Credential, error) {
		if r.Rejected {
			k.set("ann", "t0ken-2")
		}
		return k.ask(ctx, r)
	}
	l := local.New(t, berth.Config{Credentials: ask})
	remote := l.Git.Create("org/expires", gittest.Small())
	remote.RequireCredentials("robot", "t0ken-1")
	s, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "ann", Repository: remote.URL()})
	if err != nil {
		t.Fatal(err)
	}
	remote.RequireCredentials("robot", "t0ken-2")
	k.requests()
	local.Sh(t, s, "git commit -q --allow-empty -m one")
	pushed, err := s.Push(t.Context(), work.PushOptions{Branch: "new"})
	if all := k.requests(); err != nil || pushed.Commit != remote.Head("new") || len(all) != 2 || all[0].Rejected || !all[1].Rejected {
		t.Errorf("%+v, %v, asked %+v", pushed, err, all)
	}
	remote.RequireCredentials("robot", "t0ken-3") // which is not to be had
	if _, err := s.Push(t.Context(), work.PushOptions{Branch: "newer"}); err == nil || !strings.Contains(err.Error(), "Authentication failed") {
		t.Errorf("a push without a right: %v", err)
	}
}
