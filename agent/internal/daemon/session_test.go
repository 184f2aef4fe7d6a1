package daemon

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/agent/internal/cache"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/proc"
	"github.com/berth-go/berth/agent/internal/wire"
	"github.com/berth-go/berth/internal/test/need"
)

// TestOneAtATimePerSessionAndUID makes a late close of an old session wait for the new session that has its uid.
func TestOneAtATimePerSessionAndUID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ss := &sessions{byID: make(map[string]*session), busy: make(map[any]chan struct{})}
		acquire := func(id string, uid int) (func(), error) {
			ctx, cancel := context.WithTimeout(t.Context(), time.Second)
			defer cancel()
			return ss.acquire(ctx, id, uid)
		}
		release, err := acquire("new", 10001)
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range []struct {
			id   string
			uid  int
			want error
		}{
			{"new", 10002, context.DeadlineExceeded},
			{"old", 10001, context.DeadlineExceeded},
			{"other", 10002, nil},
			{"new", 10001, context.DeadlineExceeded},
		} {
			again, err := acquire(test.id, test.uid)
			if !errors.Is(err, test.want) {
				t.Errorf("%s with uid %d: %v, want %v", test.id, test.uid, err, test.want)
			}
			if err == nil {
				again()
			}
		}
		release()
		if release, err = acquire("old", 10001); err != nil {
			t.Fatal(err)
		}
		release()
		if len(ss.busy) != 0 {
			t.Errorf("%d are held at the end", len(ss.busy))
		}
	})
}

func init() { proc.Main() } // as in the agent's program: some tests end the processes of a uid

// newPlaces returns places in a directory of the test.
func newPlaces(t *testing.T) *place.Places {
	t.Helper()
	etc := t.TempDir()
	for _, name := range []string{"passwd", "group"} {
		if err := os.WriteFile(filepath.Join(etc, name), nil, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	places, err := place.Open(place.Config{Root: t.TempDir(), Etc: etc})
	if err != nil {
		t.Fatal(err)
	}
	return places
}

// TestOpeningAndClearingAreApart: as many slow checkouts as there may be do not keep a session from being cleared.
func TestOpeningAndClearingAreApart(t *testing.T) {
	need.Root(t)
	places := newPlaces(t)
	d := &Daemon{opening: make(gate, 1), clearing: make(gate, 1), places: places}
	s := &session{Session: wire.Session{ID: "s", UID: 59_998}}
	if err := places.Reserve(s.ID); err != nil {
		t.Fatal(err)
	}
	d.opening <- struct{}{}
	if err := d.empty(t.Context(), s); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(places.Top(s.ID)); !os.IsNotExist(err) {
		t.Errorf("the session's directory is left: %v", err)
	}
	d.clearing <- struct{}{}
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if err := d.empty(ended, s); !errors.Is(err, context.Canceled) {
		t.Errorf("with no place to clear: %v", err)
	}
}

// TestASessionThatFailsReleasesItsLayers: the directory of a cache cannot be made, as on a full disk. The layers that the session was to
// have go when there are newer ones.
func TestASessionThatFailsReleasesItsLayers(t *testing.T) {
	need.Root(t)
	places := newPlaces(t)
	dir := filepath.Join(t.TempDir(), "caches")
	caches, err := cache.Open(dir, os.Getuid())
	if err != nil {
		t.Fatal(err)
	}
	fill := func() {
		t.Helper()
		top := t.TempDir()
		if err := errors.Join(os.Mkdir(filepath.Join(top, "deps"), 0o755), os.WriteFile(filepath.Join(top, "deps/f"), nil, 0o644)); err != nil {
			t.Fatal(err)
		}
		if _, err := caches.Put("deps", "key", top, "deps", 1<<20); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	d := &Daemon{places: places, caches: caches}
	s := &session{Session: wire.Session{ID: "s", UID: 59_997, Caches: []wire.SharedDir{{Name: "deps", Dir: "deps"}}}}
	if err := places.Reserve(s.ID); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(places.Top(s.ID), "home"), nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := d.share(s, nil); err == nil {
		t.Fatal("a directory was made below a file")
	}
	for range 2 { // it may be repeated
		if err := d.clear(t.Context(), s); err != nil {
			t.Fatal(err)
		}
	}
	fill()
	if layers, err := filepath.Glob(filepath.Join(dir, "deps", "*")); err != nil || len(layers) != 2 {
		t.Errorf("%v are left, %v; want the new layer, and the file that names it", layers, err)
	}
}
