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
	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
)

// untilKilled is a command that runs until its session ends.
func untilKilled(ctx context.Context, _ fake.Command) int {
	<-ctx.Done()
	return 1
}

// TestRevokeEndsWhatAUserHas: in every state, in every process, by any spelling, and nothing else.
func TestRevokeEndsWhatAUserHas(t *testing.T) {
	cfg := berth.Config{MaxTasksPerInstance: 4, UserLimits: berth.UserLimits{Queued: 10}}
	world.Run(t, world.Setup{Config: cfg, Engine: fake.EngineOptions{Run: untilKilled}}, func(t *testing.T, w *world.World) {
		ctx := t.Context()
		other := w.NewProvider()
		active := w.Create("active", world.RepoA)
		cmd := active.Command(ctx, "work")
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		elsewhere := w.Create("elsewhere", world.RepoB)
		r := world.Request("anothers", world.RepoA)
		r.UserID = world.OtherUser
		anothers := world.Create(t, w.Provider, r)
		w.Engine.Hang(fake.Open)
		creating := world.Creating(ctx, other, world.Request("creating", world.RepoA))
		world.After(time.Second)
		queued := world.Creating(ctx, w.Provider, world.Request("queued", world.RepoA))
		world.After(time.Second)
		states := make(map[string]bool)
		for _, s := range w.OpenSessions() {
			if s.SharingKey.Repository.Path == "acme/rocket" && s.UserID == world.User {
				states[string(s.State)+map[bool]string{true: ", queued"}[s.Queued]] = true
			}
		}
		if len(states) != 3 {
			t.Fatalf("the sessions are %v", states)
		}
		w.Engine.Heal()
		if err := other.Revoke(ctx, world.User, "git@github.com:Acme/rocket.git"); err != nil {
			t.Fatal(err)
		}
		for _, s := range w.OpenSessions() {
			if s.TaskID != "elsewhere" && s.TaskID != "anothers" {
				t.Errorf("the session of %s is %s", s.TaskID, s.State)
			}
		}
		for name, c := range map[string]<-chan world.Result{"creating": creating, "queued": queued} {
			if r := <-c; !errors.Is(r.Err, berth.ErrRevoked) || berth.Retryable(r.Err) || errors.Is(r.Err, berth.ErrTerminated) {
				t.Errorf("the caller of the session that was %s got %v", name, r.Err)
			}
		}
		if err := cmd.Wait(); !errors.Is(err, berth.ErrRevoked) {
			t.Errorf("its command: %v", err)
		}
		if err := active.Command(ctx, "work").Start(); !errors.Is(err, berth.ErrRevoked) {
			t.Errorf("another command: %v", err)
		}
		<-active.Done()
		if !errors.Is(active.Err(), berth.ErrRevoked) {
			t.Error(active.Err())
		}
		if got := world.Get(t, w.Provider, active.ID()); !errors.Is(got.Err(), berth.ErrRevoked) {
			t.Errorf("looked up: %v", got.Err())
		}
		told := 0
		for _, e := range w.Events(berth.EventSessionEnded) {
			if errors.Is(e.Err, berth.ErrRevoked) {
				told++
			}
		}
		if told != 3 {
			t.Errorf("%d events say it", told)
		}
		for _, s := range []*berth.Session{elsewhere, anothers} {
			if err := s.KeepAlive(ctx); err != nil {
				t.Error(err)
			}
		}
		snapshot, err := audit.Take(ctx, w.Store)
		if err != nil {
			t.Fatal(err)
		}
		for _, fault := range snapshot.Faults(1) {
			t.Error(fault)
		}
	})
}

func TestRevokeAllOfAUser(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		for task, repo := range map[string]string{"a": world.RepoA, "b": world.RepoB} {
			w.Create(task, repo)
		}
		for range 2 { // again, when there is nothing
			if err := other.Revoke(t.Context(), world.User, ""); err != nil {
				t.Fatal(err)
			}
		}
		if left := w.OpenSessions(); len(left) > 0 {
			t.Errorf("%d sessions are left", len(left))
		}
		if err := w.Revoke(t.Context(), "nobody", world.RepoA); err != nil {
			t.Error(err)
		}
		for _, p := range []*berth.Provider{w.Provider, other} { // a user who is still authorized begins anew
			s := world.Create(t, p, world.Request("a", world.RepoA))
			if err := p.Revoke(t.Context(), world.User, world.RepoB); err != nil {
				t.Fatal(err)
			}
			if err := s.KeepAlive(t.Context()); err != nil {
				t.Error(err)
			}
			w.Terminate(s)
		}
	})
}

// afterUser is a store that calls a function once, after the first commit of a user's record alone.
type afterUser struct {
	store.Store
	once sync.Once
	do   func()
}

func (s *afterUser) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	err := s.Store.Update(ctx, keys, fn)
	if len(keys) == 1 && keys[0].Kind == store.KindUser {
		s.once.Do(s.do)
	}
	return err
}

// TestWhatBeginsAfterARevocationStays: even if Revoke looks for sessions later.
func TestWhatBeginsAfterARevocationStays(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		old := w.Create("old", world.RepoA)
		var fresh *berth.Session
		p := w.NewProviderOn(&afterUser{Store: w.Store, do: func() { fresh = w.Create("fresh", world.RepoA) }})
		if err := p.Revoke(t.Context(), world.User, world.RepoA); err != nil {
			t.Fatal(err)
		}
		<-old.Done()
		if err := fresh.KeepAlive(t.Context()); err != nil {
			t.Error(err)
		}
	})
}

// TestRevokeIsBoundedByItsContext: the work goes on.
func TestRevokeIsBoundedByItsContext(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		a, b := w.Create("a", world.RepoA), w.Create("b", world.RepoA)
		w.Engine.Hang(fake.CloseSession)
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		begun := time.Now()
		err := w.Revoke(ctx, world.User, world.RepoA)
		if took := time.Since(begun); took != time.Second || !errors.Is(err, context.DeadlineExceeded) {
			t.Errorf("%v after %v", err, took)
		}
		for _, s := range []*berth.Session{a, b} {
			if !strings.Contains(err.Error(), s.ID()) {
				t.Errorf("the error does not name session %s: %v", s.ID(), err)
			}
			if err := s.Command(t.Context(), "work").Run(); !errors.Is(err, berth.ErrRevoked) {
				t.Errorf("a command of a session that is being ended: %v", err)
			}
		}
		w.Engine.Heal()
		if err := w.Revoke(t.Context(), world.User, world.RepoA); err != nil {
			t.Error(err)
		}
		for _, s := range []*berth.Session{a, b} {
			<-s.Done()
			if !errors.Is(s.Err(), berth.ErrRevoked) {
				t.Error(s.Err())
			}
		}
	})
}

func TestRevokeByManyAtOnce(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		other := w.NewProvider()
		for _, task := range []string{"a", "b", "c"} {
			w.Create(task, world.RepoA)
		}
		var all sync.WaitGroup
		for i := range 10 {
			p := w.Provider
			if i%2 == 0 {
				p = other
			}
			all.Go(func() {
				if err := p.Revoke(t.Context(), world.User, world.RepoA); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		if left := w.OpenSessions(); len(left) > 0 {
			t.Errorf("%d sessions are left", len(left))
		}
		synctest.Wait()
		w.View(func(v store.View) error {
			if u, err := store.Get[*store.User](v, store.UserKey(world.User)); err != nil || u.Revocations != 10 || u.Sessions != 0 {
				t.Errorf("%+v, %v", u, err)
			}
			return nil
		})
	})
}

func TestRevokeRefusesWhatIsUnfit(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		for _, c := range []struct{ user, repo, field string }{
			{"", world.RepoA, "userID"}, {strings.Repeat("x", 257), "", "userID"}, {"a\nb", "", "userID"},
			{world.User, "--upload-pack=x", "repository"}, {world.User, "/etc", "repository"},
		} {
			e, ok := errors.AsType[*berth.FieldError](w.Revoke(t.Context(), c.user, c.repo))
			if !ok || e.Field != c.field {
				t.Errorf("%q, %q: %v", c.user, c.repo, e)
			}
		}
		if err := w.Close(); err != nil {
			t.Error(err)
		}
		if err := w.Revoke(t.Context(), world.User, ""); !errors.Is(err, berth.ErrClosed) {
			t.Error(err)
		}
	})
}
