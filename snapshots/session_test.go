package snapshots_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/snapshots"
)

// withStore runs a test on a pool of fakes with a store of snapshots.
func withStore(t *testing.T, setup world.Setup, test func(t *testing.T, w *world.World, store *fake.Snapshots)) {
	t.Helper()
	store := fake.NewSnapshots(fake.SnapshotOptions{})
	setup.Config.Snapshots = store
	world.Run(t, setup, func(t *testing.T, w *world.World) { test(t, w, store) })
}

// write writes a file of a session.
func write(t *testing.T, s *berth.Session, name, text string) {
	t.Helper()
	if err := s.FS(t.Context()).WriteFile(name, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// reads checks what a session's file has.
func reads(t *testing.T, s *berth.Session, name, want string) {
	t.Helper()
	if got, err := s.FS(t.Context()).ReadFile(name); err != nil || string(got) != want {
		t.Errorf("task %s: %s is %q, %v; want %q", s.Info().TaskID, name, got, err, want)
	}
}

// from asks for a session that starts from a snapshot.
func from(snapshot, task string) berth.SessionRequest {
	r := world.Request(task, world.RepoA)
	r.Snapshot = snapshot
	return r
}

// TestSessionsStartFromASnapshot: any number, also after the session has ended and its instance is gone. What one of them does, none of the
// others sees.
func TestSessionsStartFromASnapshot(t *testing.T) {
	withStore(t, world.Setup{}, func(t *testing.T, w *world.World, _ *fake.Snapshots) {
		s := w.Create("first", world.RepoA)
		write(t, s, "note", "kept")
		info, err := s.Snapshot(t.Context(), "monday")
		if err != nil {
			t.Fatal(err)
		}
		if info.Name != "monday" || info.Repository != "github.com/acme/rocket" || info.UserID != world.User || info.TaskID != "first" || info.Commit == "" ||
			info.Files != 1 || info.Bytes != 4 || info.Size == 0 || info.Branch != s.Info().Branch || !info.Created.Equal(time.Now()) && time.Since(info.Created) > time.Minute {
			t.Errorf("%+v", info)
		}
		if events := w.Events(berth.EventSnapshot); len(events) != 1 || events[0].Message != "monday" || events[0].SessionID != s.ID() {
			t.Errorf("%+v", events)
		}
		write(t, s, "note", "later")
		w.Terminate(s)
		world.After(time.Hour) // the pool is at zero
		for in, err := range w.Instances(t.Context()) {
			t.Fatal(in, err)
		}
		one := world.Create(t, w.Provider, from("monday", "second"))
		two := world.Create(t, w.Provider, from(info.ID, "third"))
		for _, s := range []*berth.Session{one, two} {
			reads(t, s, "note", "kept")
			if s.Info().Branch != info.Branch {
				t.Errorf("%+v", s.Info())
			}
		}
		write(t, one, "note", "changed")
		reads(t, two, "note", "kept")
		again := world.Create(t, w.Provider, from("monday", "second"))
		if again.ID() != one.ID() {
			t.Errorf("the same request has another session: %v, %v", again, one)
		}
		if _, err := w.CreateSession(t.Context(), world.Request("second", world.RepoA)); !errors.Is(err, berth.ErrTaskConflict) {
			t.Errorf("another request of the same task: %v", err)
		}
	})
}

// TestASnapshotThatCannotBeUsed fails the request at once, and starts no container.
func TestASnapshotThatCannotBeUsed(t *testing.T) {
	withStore(t, world.Setup{}, func(t *testing.T, w *world.World, store *fake.Snapshots) {
		s := w.Create("first", world.RepoA)
		write(t, s, "note", strings.Repeat("kept", 100))
		info, err := s.Snapshot(t.Context(), "broken")
		if err != nil {
			t.Fatal(err)
		}
		name := orchestrator.SnapshotName{Kind: orchestrator.SnapshotSession, Key: info.ID}
		fails := func(task, snapshot string, want error) {
			t.Helper()
			_, err := w.CreateSession(t.Context(), from(snapshot, task))
			failed, ok := errors.AsType[*berth.StartError](err)
			if !ok || failed.Phase != "checkout" || !errors.Is(err, want) || berth.Retryable(err) != errors.Is(want, berth.ErrUnavailable) {
				t.Errorf("%s: %v", snapshot, err)
			}
			if s, err := w.SessionByTask(t.Context(), task); !errors.Is(err, berth.ErrSessionNotFound) && (err != nil || s.Info().State != berth.SessionEnded || !errors.Is(s.Err(), want)) {
				t.Errorf("%s: %v, %v", snapshot, s, err)
			}
		}
		fails("missing", "never", orchestrator.ErrNoSnapshot)
		store.ChangeContent(name, func(b []byte) []byte { b[len(b)-3]++; return b })
		fails("damaged", "broken", orchestrator.ErrSnapshotCorrupt)
		store.ChangeContent(name, func([]byte) []byte { return []byte("{}\nno snapshot") })
		fails("another", "broken", orchestrator.ErrSnapshotCorrupt)
		store.ChangeContent(name, func([]byte) []byte { return nil })
		fails("gone", "broken", orchestrator.ErrSnapshotCorrupt)
		store.Fail(fake.OpenSnapshot, 1, errors.New("no route"))
		fails("unreachable", "broken", berth.ErrUnavailable)
		if _, err := s.Snapshot(t.Context(), "broken"); err != nil { // the next one heals it
			t.Fatal(err)
		}
		reads(t, world.Create(t, w.Provider, from("broken", "healed")), "note", strings.Repeat("kept", 100))
	})
}

// TestAHalfSnapshotIsNeverSeen: if the store or the session fails meanwhile, the name keeps what it had.
func TestAHalfSnapshotIsNeverSeen(t *testing.T) {
	withStore(t, world.Setup{}, func(t *testing.T, w *world.World, store *fake.Snapshots) {
		s := w.Create("first", world.RepoA)
		write(t, s, "note", "first")
		if _, err := s.Snapshot(t.Context(), "work"); err != nil {
			t.Fatal(err)
		}
		write(t, s, "note", "second")
		store.Fail(fake.PutSnapshot, 1, errors.New("no route"))
		if _, err := s.Snapshot(t.Context(), "work"); !errors.Is(err, berth.ErrUnavailable) || !berth.Retryable(err) {
			t.Errorf("the store fails: %v", err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if _, err := s.Snapshot(ctx, "work"); !errors.Is(err, context.Canceled) {
			t.Errorf("the caller gives up: %v", err)
		}
		reads(t, world.Create(t, w.Provider, from("work", "second")), "note", "first")
		w.Terminate(s)
		if _, err := s.Snapshot(t.Context(), "work"); !errors.Is(err, berth.ErrTerminated) {
			t.Errorf("the session has ended: %v", err)
		}
		reads(t, world.Create(t, w.Provider, from("work", "third")), "note", "first")
	})
}

// TestWhoMayStartFromASnapshot: the user who made it. Another user needs its ID, a Config.Authorize that admits it, and the repository.
func TestWhoMayStartFromASnapshot(t *testing.T) {
	const vault = "https://x:right@git.example/acme/vault"
	var asked []berth.AccessRequest
	repositories := map[string]fake.Repo{"https://git.example/acme/vault": {Password: "right"}, world.RepoA: {}}
	for _, authorized := range []bool{false, true} {
		setup := world.Setup{Engine: fake.EngineOptions{Repositories: repositories}}
		if authorized {
			setup.Config.Authorize = func(_ context.Context, r berth.AccessRequest) error {
				asked = append(asked, r)
				return nil
			}
		}
		withStore(t, setup, func(t *testing.T, w *world.World, _ *fake.Snapshots) {
			s := w.Create("first", vault)
			write(t, s, "note", "secret")
			info, err := s.Snapshot(t.Context(), "mine")
			if err != nil {
				t.Fatal(err)
			}
			ask := func(task, user, repository, snapshot string) (*berth.Session, error) {
				return w.CreateSession(t.Context(), berth.SessionRequest{TaskID: task, UserID: user, Repository: repository, Snapshot: snapshot})
			}
			if _, err := ask("by-name", world.OtherUser, vault, "mine"); !errors.Is(err, orchestrator.ErrNoSnapshot) {
				t.Errorf("another user's name: %v", err)
			}
			if _, err := ask("without-a-credential", world.User, "https://git.example/acme/vault", "mine"); !errors.Is(err, berth.ErrAccessDenied) {
				t.Errorf("without a credential: %v", err)
			}
			if _, err := ask("other-repository", world.User, world.RepoA, "mine"); !errors.Is(err, orchestrator.ErrNoSnapshot) {
				t.Errorf("another repository: %v", err)
			}
			asked = nil
			_, err = ask("other-repository-s-ID", world.OtherUser, world.RepoA, info.ID)
			if want := map[bool]error{false: berth.ErrAccessDenied, true: orchestrator.ErrNoSnapshot}[authorized]; !errors.Is(err, want) {
				t.Errorf("the ID in another repository: %v", err)
			}
			other, err := ask("by-ID", world.OtherUser, vault, info.ID)
			if !authorized {
				if !errors.Is(err, berth.ErrAccessDenied) {
					t.Errorf("another user's ID: %v", err)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			reads(t, other, "note", "secret")
			if last := asked[len(asked)-1]; last.Snapshot != info.ID || !last.Foreign || last.UserID != world.OtherUser {
				t.Errorf("Authorize was asked %+v", last)
			}
			if _, err := ask("by-ID-without-a-credential", world.OtherUser, "https://git.example/acme/vault", info.ID); !errors.Is(err, berth.ErrAccessDenied) {
				t.Errorf("the ID without a credential: %v", err)
			}
		})
	}
}

// TestSnapshotsOfTenants: Config.Sharing separates snapshots as it separates sessions, but for branches and private containers.
func TestSnapshotsOfTenants(t *testing.T) {
	setup := world.Setup{Config: berth.Config{MaxInstances: 4, Sharing: berth.Sharing{Tenant: "tenant", Branch: true}, Authorize: func(context.Context, berth.AccessRequest) error { return nil }}}
	setup.Engine.Repositories = map[string]fake.Repo{world.RepoA: {Branches: []string{"next"}}}
	withStore(t, setup, func(t *testing.T, w *world.World, _ *fake.Snapshots) {
		ask := func(task, tenant, branch, snapshot string) (*berth.Session, error) {
			return w.CreateSession(t.Context(), berth.SessionRequest{
				TaskID: task, UserID: world.User, Repository: world.RepoA, Branch: branch, Snapshot: snapshot, Labels: map[string]string{"tenant": tenant},
			})
		}
		s, err := ask("first", "a", "", "")
		if err != nil {
			t.Fatal(err)
		}
		write(t, s, "note", "of a")
		info, err := s.Snapshot(t.Context(), "work")
		if err != nil {
			t.Fatal(err)
		}
		for _, snapshot := range []string{"work", info.ID} {
			if _, err := ask("other-"+snapshot[:4], "b", "", snapshot); !errors.Is(err, orchestrator.ErrNoSnapshot) {
				t.Errorf("another tenant's %s: %v", snapshot, err)
			}
		}
		next, err := ask("next", "a", "next", "work")
		if err != nil {
			t.Fatal(err)
		}
		reads(t, next, "note", "of a")
	})
}

// TestListFindAndRemove.
func TestListFindAndRemove(t *testing.T) {
	withStore(t, world.Setup{}, func(t *testing.T, w *world.World, store *fake.Snapshots) {
		a, b := w.Create("a", world.RepoA), w.Create("b", world.RepoB)
		var all []snapshots.Info
		for _, one := range []struct {
			s    *berth.Session
			name string
		}{{a, "one"}, {a, "two"}, {b, "one"}} {
			info, err := one.s.Snapshot(t.Context(), one.name)
			if err != nil {
				t.Fatal(err)
			}
			all = append(all, info)
		}
		if _, err := store.Put(t.Context(), orchestrator.SnapshotName{Kind: orchestrator.SnapshotSession, Key: "a program's own"}, strings.NewReader("x")); err != nil {
			t.Fatal(err)
		}
		list := func(f snapshots.Filter) (ids []string) {
			for info, err := range snapshots.List(t.Context(), store, f) {
				if err != nil {
					t.Error(info.ID, err)
				}
				ids = append(ids, info.ID)
			}
			slices.Sort(ids)
			return ids
		}
		want := func(some ...snapshots.Info) (ids []string) {
			for _, i := range some {
				ids = append(ids, i.ID)
			}
			slices.Sort(ids)
			return ids
		}
		for _, test := range []struct {
			filter snapshots.Filter
			want   []string
		}{
			{snapshots.Filter{}, want(all...)},
			{snapshots.Filter{Repository: "github.com/acme/rocket"}, want(all[:2]...)},
			{snapshots.Filter{TaskID: "b"}, want(all[2])},
			{snapshots.Filter{UserID: world.OtherUser}, nil},
		} {
			if got := list(test.filter); !slices.Equal(got, test.want) {
				t.Errorf("%+v: %v, want %v", test.filter, got, test.want)
			}
		}
		if got, err := snapshots.Find(t.Context(), store, all[0].ID); err != nil || got.Name != "one" || got.Digest != all[0].Digest {
			t.Errorf("%+v, %v", got, err)
		}
		for range 2 {
			if err := snapshots.Remove(t.Context(), store, all[0].ID); err != nil {
				t.Error(err)
			}
		}
		if _, err := snapshots.Find(t.Context(), store, all[0].ID); !errors.Is(err, orchestrator.ErrNoSnapshot) {
			t.Error(err)
		}
		if got := list(snapshots.Filter{}); !slices.Equal(got, want(all[1:]...)) {
			t.Errorf("%v", got)
		}
	})
}

// TestOldSnapshotsAreRemoved by the planner, as Config.SnapshotRetention says.
func TestOldSnapshotsAreRemoved(t *testing.T) {
	setup := world.Setup{Config: berth.Config{SnapshotRetention: orchestrator.Retention{MaxAge: 100 * time.Minute, MaxCount: 2}, SessionIdleTimeout: -1}}
	withStore(t, setup, func(t *testing.T, w *world.World, store *fake.Snapshots) {
		s := w.Create("first", world.RepoA)
		left := func() (names []string) {
			for info, err := range snapshots.List(t.Context(), store, snapshots.Filter{}) {
				if err != nil {
					t.Fatal(err)
				}
				names = append(names, info.Name)
			}
			slices.Sort(names)
			return names
		}
		for _, name := range []string{"a", "b", "c"} {
			write(t, s, "note", name)
			if _, err := s.Snapshot(t.Context(), name); err != nil {
				t.Fatal(err)
			}
			world.After(time.Second)
		}
		world.After(65 * time.Minute)
		if got := left(); !slices.Equal(got, []string{"b", "c"}) {
			t.Errorf("after an hour there are %v", got)
		}
		world.After(time.Hour)
		if got := left(); len(got) > 0 {
			t.Errorf("after two hours there are %v", got)
		}
	})
}

func TestSnapshotsThatAreInvalid(t *testing.T) {
	withStore(t, world.Setup{}, func(t *testing.T, w *world.World, _ *fake.Snapshots) {
		s := w.Create("first", world.RepoA)
		for _, name := range []string{"", "a b", "../x", "-x", ".x", strings.Repeat("x", 51), "ä", strings.Repeat("a", 26) + ".x"} {
			if _, err := s.Snapshot(t.Context(), name); !errors.Is(err, berth.ErrInvalid) {
				t.Errorf("%q: %v", name, err)
			}
		}
		if _, err := w.CreateSession(t.Context(), from("a b", "second")); !errors.Is(err, berth.ErrInvalid) {
			t.Error(err)
		}
	})
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		if _, err := w.Create("first", world.RepoA).Snapshot(t.Context(), "x"); !errors.Is(err, berth.ErrInvalid) {
			t.Errorf("without a store: %v", err)
		}
		if _, err := w.CreateSession(t.Context(), from("x", "second")); !errors.Is(err, berth.ErrInvalid) {
			t.Errorf("without a store: %v", err)
		}
	})
}
