// Package snapshottest is the conformance suite of [orchestrator.SnapshotStore]. It checks that an implementation does what the
// comments in package orchestrator promise. The test of an implementation calls [Run].
package snapshottest

import (
	"bytes"
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth/orchestrator"
)

// Harness makes an implementation testable.
type Harness struct {
	// New makes an empty store for one case, and removes it with t.Cleanup. Cases share nothing.
	New func(t *testing.T) Rig
	// Bubble, if not nil, runs each case, including New: testing/synctest.Test, for example.
	Bubble func(t *testing.T, test func(*testing.T))
}

// Rig is a store and functions that interfere with it from outside.
type Rig struct {
	Store orchestrator.SnapshotStore
	// Another opens the same store as another process does.
	Another func(t *testing.T) orchestrator.SnapshotStore
	// Grace is how long a content without a name is kept.
	Grace time.Duration
	// Pass lets time pass for everything that is stored.
	Pass func(t *testing.T, d time.Duration)
	// Contents counts the contents that are stored, with a name or without.
	Contents func(t *testing.T) int
	// Uploads counts the contents that are not stored yet: those of uploads under way and of uploads that died.
	Uploads func(t *testing.T) int
	// ChangeContent changes a snapshot's stored content from outside; nil removes it.
	ChangeContent func(t *testing.T, s orchestrator.Snapshot, change func([]byte) []byte)
	// ChangeDescription changes what is stored under a name from outside. The key of the name has lower-case letters alone.
	ChangeDescription func(t *testing.T, name orchestrator.SnapshotName, change func([]byte) []byte)
	// Many is a number of snapshots of which a list has more than one page.
	Many int
	// Large is a number of bytes that the store does not send or keep in one piece.
	Large int
}

// testCase is one rule.
type testCase struct {
	rule string
	test func(f fixture)
}

// Run checks an implementation.
func Run(t *testing.T, h Harness) {
	bubble := h.Bubble
	if bubble == nil {
		bubble = func(t *testing.T, test func(*testing.T)) { test(t) }
	}
	for _, cases := range [][]testCase{contentCases, listCases, brokenCases, damageCases, raceCases, collectCases} {
		for _, c := range cases {
			t.Run(c.rule, func(t *testing.T) {
				bubble(t, func(t *testing.T) { c.test(fixture{t, h.New(t)}) })
			})
		}
	}
}

// fixture is a Rig in a test.
type fixture struct {
	*testing.T
	Rig
}

// layer names a snapshot.
func layer(key string) orchestrator.SnapshotName {
	return orchestrator.SnapshotName{Kind: orchestrator.SnapshotLayer, Key: key}
}

// content returns bytes that differ for each seed.
func content(seed uint64, size int) []byte {
	p := make([]byte, size)
	r := rand.NewChaCha8([32]byte{byte(seed), byte(seed >> 8), byte(seed >> 16)})
	if _, err := r.Read(p); err != nil {
		panic(err) // a ChaCha8 never fails
	}
	return p
}

// put stores a content.
func (f fixture) put(name orchestrator.SnapshotName, content []byte) orchestrator.Snapshot {
	f.Helper()
	s, err := f.Store.Put(f.Context(), name, bytes.NewReader(content))
	if err != nil {
		f.Fatalf("Put %s: %v", name, err)
	}
	return s
}

// get reads a snapshot to its end.
func get(ctx context.Context, store orchestrator.SnapshotStore, name orchestrator.SnapshotName) ([]byte, error) {
	r, _, err := store.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	defer r.Close()
	return io.ReadAll(r)
}

// wants fails the test unless a name has a content.
func (f fixture) wants(name orchestrator.SnapshotName, want []byte) {
	f.Helper()
	got, err := get(f.Context(), f.Store, name)
	if err != nil || !bytes.Equal(got, want) {
		f.Fatalf("%s has %d bytes, %v; want the %d that were stored", name, len(got), err, len(want))
	}
}

// absent fails the test unless a name has no content.
func (f fixture) absent(name orchestrator.SnapshotName) {
	f.Helper()
	if _, err := f.Store.Stat(f.Context(), name); !errors.Is(err, orchestrator.ErrNoSnapshot) {
		f.Fatalf("Stat %s: %v; want ErrNoSnapshot", name, err)
	}
	if _, _, err := f.Store.Open(f.Context(), name); !errors.Is(err, orchestrator.ErrNoSnapshot) {
		f.Fatalf("Open %s: %v; want ErrNoSnapshot", name, err)
	}
}

// list lists the names of a kind. Snapshots with damaged descriptions have a "!" behind.
func (f fixture) list(kind orchestrator.SnapshotKind) map[string]orchestrator.Snapshot {
	f.Helper()
	found := make(map[string]orchestrator.Snapshot)
	for s, err := range f.Store.List(f.Context(), kind) {
		name := s.Name.String()
		if errors.Is(err, orchestrator.ErrSnapshotCorrupt) {
			name += "!"
		} else if err != nil {
			f.Fatalf("List: %v", err)
		}
		if _, twice := found[name]; twice {
			f.Fatalf("%s is twice in the list", name)
		}
		found[name] = s
	}
	return found
}

// collect collects, and fails the test unless so many contents go.
func (f fixture) collect(want int) orchestrator.Collected {
	f.Helper()
	done, err := f.Store.Collect(f.Context())
	if err != nil || done.Contents != want {
		f.Fatalf("Collect: %+v, %v; want %d contents to go", done, err, want)
	}
	return done
}

// count fails the test unless so many contents are stored.
func (f fixture) count(want int) {
	f.Helper()
	if got := f.Contents(f.T); got != want {
		f.Fatalf("%d contents are stored, not %d", got, want)
	}
}

// long is a key of the greatest length.
var long = strings.Repeat("Ö", 40)
