package session_test

import (
	"context"
	"errors"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
)

// keyring is the Config.Credentials of a test.
type keyring struct {
	mu    sync.Mutex
	asked []berth.CredentialRequest
	keys  map[string]berth.Credential // by user; that of "" is for containers without sessions
	fresh berth.Credential            // in place of one that was rejected, unless it is zero
	fail  error
	hook  func(ctx context.Context) // called before the answer
}

func (k *keyring) ask(ctx context.Context, r berth.CredentialRequest) (berth.Credential, error) {
	k.mu.Lock()
	k.asked = append(k.asked, r)
	key, err, hook := k.keys[r.UserID], k.fail, k.hook
	if r.Rejected && k.fresh != (berth.Credential{}) {
		key = k.fresh
	}
	k.mu.Unlock()
	if hook != nil {
		hook(ctx)
	}
	return key, err
}

// requests returns what was asked since the last call.
func (k *keyring) requests() []berth.CredentialRequest {
	k.mu.Lock()
	defer k.mu.Unlock()
	all := k.asked
	k.asked = nil
	return all
}

func (k *keyring) set(change func(*keyring)) {
	k.mu.Lock()
	defer k.mu.Unlock()
	change(k)
}

// withKeyring runs a test with the vault, whose password is "right", and whose git asks by the command "ask".
func withKeyring(t *testing.T, k *keyring, cfg berth.Config, test func(*testing.T, *world.World)) {
	cfg.Credentials = k.ask
	engine := fake.EngineOptions{Run: world.Shell, Repositories: map[string]fake.Repo{"https://" + vault: {Password: "right", Branches: []string{"next"}}}}
	world.Run(t, world.Setup{Config: cfg, Engine: engine}, test)
}

// ask runs the command "ask" in a session.
func ask(t *testing.T, s *berth.Session, args ...string) string {
	t.Helper()
	out, _ := s.Command(t.Context(), "ask", args...).Output()
	return string(out)
}

func TestTheMirrorsCredentialIsAskedFor(t *testing.T) {
	k := &keyring{keys: map[string]berth.Credential{"ann": {Username: "x", Password: "right"}, "eve": {Username: "x", Password: "wrong"}}}
	withKeyring(t, k, berth.Config{}, func(t *testing.T, w *world.World) {
		r := asks("ann-1", "ann", "")
		r.Labels = map[string]string{"team": "blue"}
		s := world.Create(t, w.Provider, r)
		all := k.requests()
		if len(all) != 1 || all[0].SessionID != s.ID() || all[0].TaskID != "ann-1" || all[0].UserID != "ann" || all[0].Labels["team"] != "blue" ||
			all[0].URL != "https://"+vault || all[0].Repository.String() != vault || all[0].Purpose != berth.PurposeFetch || !all[0].Mirror || all[0].Rejected {
			t.Errorf("asked %+v", all)
		}
		denied(t, w, asks("eve-1", "eve", "")) // another user's credential does not read it
		if all := k.requests(); len(all) != 2 || all[0].Rejected || !all[1].Rejected || all[1].UserID != "eve" {
			t.Errorf("asked %+v", all)
		}
		err := denied(t, w, asks("bob-1", "bob", "")) // who has none
		if !strings.Contains(err.Error(), "the credential of Config.Credentials") {
			t.Error(err)
		}
		k.requests()
		world.Create(t, w.Provider, asks("cid-1", "cid", "right")) // that of the request goes first
		if all := k.requests(); len(all) != 0 {
			t.Errorf("asked %+v", all)
		}
		world.After(11 * time.Second) // refusals are remembered for 10 s
		refusal := errors.New("eve has left")
		k.set(func(k *keyring) { k.fail = refusal })
		if _, err := w.CreateSession(t.Context(), asks("eve-2", "eve", "")); !errors.Is(err, refusal) {
			t.Errorf("the host's own error: %v", err)
		}
		k.set(func(k *keyring) { k.fail, k.hook = nil, func(context.Context) { panic("oops") } })
		if _, err := w.CreateSession(t.Context(), asks("ann-2", "ann", "")); err == nil || !strings.Contains(err.Error(), "Config.Credentials panicked: oops") {
			t.Errorf("a panic: %v", err)
		}
		stuck := make(chan struct{})
		defer close(stuck)
		k.set(func(k *keyring) { k.hook = func(context.Context) { <-stuck } })
		begun := time.Now()
		if _, err := w.CreateSession(t.Context(), asks("ann-3", "ann", "")); err == nil || time.Since(begun) > time.Minute {
			t.Errorf("no answer, for %v: %v", time.Since(begun), err)
		}
	})
}

// TestAnExpiredTokenIsRenewed: when the remote refuses what a cache of the host has given, the host is told and asked once more.
func TestAnExpiredTokenIsRenewed(t *testing.T) {
	k := &keyring{keys: map[string]berth.Credential{"ann": {Password: "right"}}}
	withKeyring(t, k, berth.Config{MirrorMaxAge: time.Nanosecond}, func(t *testing.T, w *world.World) {
		world.Create(t, w.Provider, asks("ann-1", "ann", ""))
		k.set(func(k *keyring) {
			k.keys["ann"], k.fresh = berth.Credential{Password: "expired"}, berth.Credential{Password: "right"}
		})
		k.requests()
		world.After(time.Minute)
		world.Create(t, w.Provider, asks("ann-2", "ann", ""))
		if all := k.requests(); len(all) != 2 || all[0].Rejected || !all[1].Rejected {
			t.Errorf("asked %+v", all)
		}
	})
}

func TestGitInASessionAsks(t *testing.T) {
	k := &keyring{keys: map[string]berth.Credential{"ann": {Username: "ann", Password: "right"}, "bob": {Username: "bob", Password: "right"}}}
	withKeyring(t, k, berth.Config{CredentialHosts: []string{"lfs.example"}}, func(t *testing.T, w *world.World) {
		ann, bob := world.Create(t, w.Provider, asks("ann-1", "ann", "")), world.Create(t, w.Provider, asks("bob-1", "bob", ""))
		k.requests()
		if ann.Info().Container != bob.Info().Container {
			t.Fatal("they share no container")
		}
		for _, c := range []struct {
			s    *berth.Session
			args []string
			want string // what git says
			repo string // what the host is asked for; "" = nothing
		}{
			{ann, []string{"https://" + vault + ".git"}, "ann:right", vault},
			{bob, []string{"https://" + vault, "push"}, "bob:right", vault},
			{ann, []string{"https://" + vault + ".git/info/lfs/objects/batch"}, "ann:right", vault},
			{ann, []string{"https://git.example/acme/lib"}, "ann:right", "git.example/acme/lib"}, // a submodule
			{ann, []string{"https://git.example:443"}, "ann:right", vault},                       // a program that knows the host alone
			{ann, []string{"https://lfs.example/acme/vault"}, "ann:right", "lfs.example/acme/vault"},
			{ann, []string{"https://evil.example/acme/vault"}, "evil.example is not the host", ""},
			{ann, []string{"https://git.example:8443/acme/vault"}, "git.example:8443 is not the host", ""},
			{ann, []string{"http://" + vault}, "is not the host", ""}, // without TLS
			{ann, []string{"https://evil.example@git.example.evil/x/y"}, "no URL of a repository", ""},
			{ann, []string{"ftp://git.example/x"}, "is not the host", ""},
			{ann, []string{":"}, "no URL of a repository", ""},
		} {
			if got := ask(t, c.s, c.args...); !strings.Contains(got, c.want) || c.repo == "" && strings.Contains(got, "right") {
				t.Errorf("%q: git gets %q, want %q", c.args, got, c.want)
			}
			all := k.requests()
			if c.repo == "" && len(all) != 0 || c.repo != "" && (len(all) != 1 || all[0].Repository.String() != c.repo || all[0].SessionID != c.s.ID() ||
				all[0].UserID != c.s.Info().UserID || all[0].Mirror || all[0].Purpose == berth.PurposePush != (len(c.args) > 1)) {
				t.Errorf("%q: the host was asked %+v", c.args, all)
			}
		}
		ask(t, ann, "https://"+vault, "rejected")
		if all := k.requests(); len(all) != 1 || !all[0].Rejected {
			t.Errorf("asked %+v", all)
		}
		k.set(func(k *keyring) { k.fail = errors.New("ann has left") })
		if got := ask(t, ann, "https://"+vault); !strings.Contains(got, "ann has left") {
			t.Errorf("the host's error: git gets %q", got)
		}
		k.set(func(k *keyring) {
			k.fail, k.keys["ann"] = nil, berth.Credential{Username: "a", Password: "right\nhost=evil.example"}
		})
		if got := ask(t, ann, "https://"+vault); strings.Contains(got, "right") {
			t.Errorf("a credential with a line break: git gets %q", got)
		}
		k.set(func(k *keyring) { delete(k.keys, "ann") })
		if got := ask(t, ann, "https://"+vault); got != ":" {
			t.Errorf("no credential: git gets %q", got)
		}
	})
}

// TestASessionThatHasEndedGetsNoCredential: not even while it ends, or when the answer comes too late.
func TestASessionThatHasEndedGetsNoCredential(t *testing.T) {
	k := &keyring{keys: map[string]berth.Credential{"ann": {Username: "ann", Password: "right"}}}
	withKeyring(t, k, berth.Config{}, func(t *testing.T, w *world.World) {
		s := world.Create(t, w.Provider, asks("ann-1", "ann", ""))
		ending := make(chan struct{})
		k.set(func(k *keyring) { k.hook = func(context.Context) { <-ending } })
		cmd := s.Command(t.Context(), "ask", "https://"+vault)
		out := new(strings.Builder)
		cmd.Stdout = out
		world.Start(t, cmd)
		synctest.Wait()
		if err := w.TerminateSession(t.Context(), s.ID()); err != nil {
			t.Fatal(err)
		}
		close(ending)
		cmd.Wait()
		if strings.Contains(out.String(), "right") {
			t.Errorf("git got %q", out)
		}
	})
}

// TestTheLastFunctionGetsACredential: what OnEnd and SaveWork push needs one. Once they are done, there is none.
func TestTheLastFunctionGetsACredential(t *testing.T) {
	k := &keyring{keys: map[string]berth.Credential{"ann": {Username: "ann", Password: "right"}}}
	var got string
	cfg := berth.Config{OnEnd: func(ctx context.Context, s *berth.Session, _ berth.EndReason) error {
		out, err := s.Command(ctx, "ask", "https://"+vault).Output()
		got += string(out)
		return err
	}}
	withKeyring(t, k, cfg, func(t *testing.T, w *world.World) {
		w.Terminate(world.Create(t, w.Provider, asks("ended", "ann", "")))
		r := asks("revoked", "ann", "")
		world.Create(t, w.Provider, r)
		if err := w.Revoke(t.Context(), "ann", r.Repository); err != nil { // leaves no time
			t.Fatal(err)
		}
		if strings.Count(got, "right") != 1 {
			t.Errorf("git got %q", got)
		}
	})
}

// TestAnotherProcessAnswers when the one that was asked has died, and within a bound git gets an error if there is none.
func TestAnotherProcessAnswers(t *testing.T) {
	k := &keyring{keys: map[string]berth.Credential{"ann": {Username: "ann", Password: "right"}}}
	withKeyring(t, k, berth.Config{}, func(t *testing.T, w *world.World) {
		s := world.Create(t, w.Provider, asks("ann-1", "ann", ""))
		other := w.NewProvider()
		found, err := other.GetSession(t.Context(), s.ID())
		if err != nil {
			t.Fatal(err)
		}
		stuck := make(chan struct{})
		k.requests()
		k.set(func(k *keyring) { k.hook = func(context.Context) { <-stuck } })
		cmd := found.Command(t.Context(), "ask", "https://"+vault) // which attaches the other process
		out := new(strings.Builder)
		cmd.Stdout = out
		world.Start(t, cmd)
		synctest.Wait()
		if all := k.requests(); len(all) != 1 {
			t.Errorf("asked %+v", all)
		}
		k.set(func(k *keyring) { k.hook = nil })
		begun := time.Now()
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if err := cmd.Wait(); err != nil || out.String() != "ann:right" || time.Since(begun) > time.Minute {
			t.Errorf("after %v: git got %q, %v", time.Since(begun), out, err)
		}
		close(stuck)
	})
}
