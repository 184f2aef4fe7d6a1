package local_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/orchestrator/dirsnapshots"
)

// TestLocalLayersInAStore: a pool that has neither the mirror nor the layer begins with what another one has made, and runs no command. When what is
// stored is damaged, it runs the commands.
func TestLocalLayersInAStore(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	store, err := dirsnapshots.New(dirsnapshots.Config{Dir: dir})
	if err != nil {
		t.Fatal(err)
	}
	cfg := berth.Config{
		Snapshots: store,
		PrepareFor: func(naming.Repository) orchestrator.Prepare {
			return orchestrator.Prepare{
				Run:   [][]string{{"sh", "-c", "mkdir -p dep ~/.cache/deps && date +%s%N > dep/made && ln -s made dep/link && echo deps > ~/.cache/deps/f && chmod 755 dep/made"}},
				Files: []string{"lock.txt"}, Dirs: []string{".cache/deps"}, Wait: time.Minute,
			}
		},
	}
	l := local.New(t, cfg)
	remote := l.Git.Create("org/stored", gittest.Small())
	remote.Commit("main", "lock.txt", "1\n")
	remote.Commit("main", ".gitignore", "dep\n")
	const look = `cat dep/made dep/link ~/.cache/deps/f; stat -c '%A' dep/made; stat -c %U dep/made dep ~/.cache/deps/f | sort -u | grep -c "^$(id -un)$"; git status --porcelain`
	want := local.Sh(t, l.Create("first", remote.URL(), ""), look)
	if !strings.HasSuffix(want, "deps\n-rwxr-xr-x\n1") {
		t.Fatalf("the first session has %q", want)
	}
	for stored := false; !stored; time.Sleep(10 * time.Millisecond) {
		if t.Context().Err() != nil {
			t.Fatal("no layer was stored")
		}
		for _, err := range store.List(t.Context(), orchestrator.SnapshotLayer) {
			stored = err == nil
		}
	}
	remote.Commit("main", "newer", "x\n") // whose lock file is the same
	second := local.New(t, cfg)
	if got := local.Sh(t, second.Create("first", remote.URL(), ""), look); got != want {
		t.Errorf("on another pool, a session has %q, want %q", got, want)
	}
	if s := second.Stats().Containers; s.PreparedStored != 1 || s.Prepared != 0 {
		t.Errorf("the other pool has taken %d layers from the store, and made %d", s.PreparedStored, s.Prepared)
	}
	blobs, err := filepath.Glob(filepath.Join(dir, "blobs", "*"))
	if err != nil || len(blobs) == 0 {
		t.Fatalf("%v, %v", blobs, err)
	}
	for _, blob := range blobs {
		content, err := os.ReadFile(blob)
		if err != nil {
			t.Fatal(err)
		}
		content[len(content)-1] ^= 1
		if err := os.WriteFile(blob, content, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	third := local.New(t, cfg)
	if got := local.Sh(t, third.Create("first", remote.URL(), ""), look); got == want || !strings.HasSuffix(got, "deps\n-rwxr-xr-x\n1") {
		t.Errorf("with a damaged store, a session has %q", got)
	}
	if s := third.Stats().Containers; s.PreparedStored != 0 || s.Prepared != 1 || s.PrepareFailures != 0 {
		t.Errorf("with a damaged store, %+v", s)
	}
}
