package session

import (
	"context"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/berth-go/berth/internal/admission"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// memory remembers whom it has authorized.
type memory struct {
	remembered map[string]bool
	said       []string
	asked      func() // while it authorizes
	denies     error
}

func (a *memory) Authorize(_ context.Context, r *Request) error {
	if a.remembered[r.UserID] {
		a.said = append(a.said, "remembered")
		return nil
	}
	a.said = append(a.said, "asked")
	if a.denies != nil {
		return a.denies
	}
	if a.asked != nil {
		a.asked()
	}
	a.remembered[r.UserID] = true
	return nil
}

func (a *memory) Forget(user string, repository naming.Repository) {
	a.said = append(a.said, "forgot "+repository.String())
	delete(a.remembered, user)
}

type oneContainer struct{}

func (oneContainer) MaxContainers() int                  { return 1 }
func (oneContainer) MaxContainersBy(*store.Pool) int     { return 1 }
func (oneContainer) ContainerIdleTimeout() time.Duration { return 0 }

// newProcess returns what one process of a pool has to admit sessions.
func newProcess(t *testing.T, st store.Store) (*Manager, *memory) {
	a := &memory{remembered: make(map[string]bool)}
	retry := store.Retry{Store: st, Report: func(err error, _ []store.Key) { t.Error(err) }}
	queue := admission.New(admission.Config{
		Replica: "r", Store: st, Retry: retry, Settings: oneContainer{},
		Limits: func(string) (admission.Limits, error) { return admission.Limits{}, nil },
	})
	return New(t.Context(), Config{Replica: "r", Store: st, Retry: retry, Queue: queue, Access: a, Closing: t.Context()}), a
}

func newPool(t *testing.T) store.Store {
	st := memstore.New()
	err := st.Update(t.Context(), nil, func(tx store.Tx) error { return tx.Put(&store.Pool{UID: "p"}) })
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func begin(t *testing.T, m *Manager, task string) (*store.Session, error) {
	t.Helper()
	r := &Request{TaskID: task, UserID: "u", Key: naming.Key{Repository: naming.Repository{Host: "h.xz", Path: "o/r"}}, ContainerName: "c"}
	s, _, err := m.admitAuthorized(t.Context(), r, &store.Session{
		ID: "s-" + task, TaskID: task, UserID: "u", SharingKey: r.Key, ContainerName: "c", State: store.SessionCreating,
	})
	return s, err
}

// TestAnAuthorizationIsNoOlderThanARevocation: a creation that was authorized before another process revoked is authorized
// once more, and what is remembered from before does not count.
func TestAnAuthorizationIsNoOlderThanARevocation(t *testing.T) {
	st := newPool(t)
	here, access := newProcess(t, st)
	there, _ := newProcess(t, st)
	if _, err := begin(t, here, "before"); err != nil {
		t.Fatal(err)
	}
	revoke := func() {
		if _, err := there.countRevocation(t.Context(), "u"); err != nil {
			t.Fatal(err)
		}
	}
	revoke()
	s, err := begin(t, here, "after")
	if err != nil || s.Revocations != 1 {
		t.Fatalf("%+v, %v", s, err)
	}
	access.remembered, access.asked = make(map[string]bool), func() { access.asked = nil; revoke() }
	if s, err = begin(t, here, "meanwhile"); err != nil || s.Revocations != 2 {
		t.Fatalf("%+v, %v", s, err)
	}
	if _, err = begin(t, here, "later"); err != nil {
		t.Fatal(err)
	}
	want := []string{
		"asked",                          // before
		"remembered", "forgot ", "asked", // after
		"asked", "forgot ", "asked", // meanwhile
		"remembered", // later
	}
	if !slices.Equal(access.said, want) {
		t.Errorf("%q, want %q", access.said, want)
	}
}

// TestARevokedUserIsDenied: nothing is stored of a creation that was authorized before, and is not any more.
func TestARevokedUserIsDenied(t *testing.T) {
	st := newPool(t)
	here, access := newProcess(t, st)
	there, _ := newProcess(t, st)
	denied := errors.New("no more")
	access.asked = func() {
		access.denies = denied
		if _, err := there.countRevocation(t.Context(), "u"); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := begin(t, here, "task"); !errors.Is(err, denied) {
		t.Errorf("got %v", err)
	}
	if s, err := store.Read[*store.Session](t.Context(), st, store.SessionKey("s-task")); err != nil || s != nil {
		t.Errorf("stored: %+v, %v", s, err)
	}
}

// TestRevokeForgetsOneRepository: the process that revokes forgets that repository alone, unless it has missed a revocation
// by another one.
func TestRevokeForgetsOneRepository(t *testing.T) {
	st := newPool(t)
	here, access := newProcess(t, st)
	there, _ := newProcess(t, st)
	repository := naming.Repository{Host: "h.xz", Path: "o/r"}
	for i, want := range []string{"forgot h.xz/o/r", "forgot h.xz/o/r", "forgot "} {
		if i == 2 {
			if err := there.Revoke(t.Context(), "u", repository); err != nil {
				t.Fatal(err)
			}
		}
		if err := here.Revoke(t.Context(), "u", repository); err != nil {
			t.Fatal(err)
		}
		if last := access.said[len(access.said)-1]; last != want {
			t.Errorf("revocation %d: %q", i, last)
		}
	}
}
