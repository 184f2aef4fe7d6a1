package local_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/orchestrator"
)

// TestLocalPromote lives through a promotion on the real engine: of a session that began with a prepared layer, has changed it, and works on
// while it is promoted. What it holds of its user is found first.
func TestLocalPromote(t *testing.T) {
	t.Parallel()
	l, said := prepares(t, orchestrator.Prepare{Run: [][]string{{"sh", "-c", "mkdir -p dep ~/.cache/deps && echo made > dep/lib && echo made > dep/old && echo made > ~/.cache/deps/f"}}, Files: []string{"lock.txt"}, Dirs: []string{".cache/deps"}})
	remote := l.Git.Create("org/promoted", gittest.Small())
	remote.Commit("main", "lock.txt", "1\n")
	remote.Commit("main", ".gitignore", "dep\n")
	l.Create("first", remote.URL(), "")
	isPrepared(t, said)
	s, err := l.CreateSession(t.Context(), berth.SessionRequest{
		TaskID: "source", UserID: "user", Repository: remote.URL(), Env: map[string]string{"SECRET": "planted-secret"},
	})
	if err != nil {
		t.Fatal(err)
	}
	local.Sh(t, s, `cat dep/lib ~/.cache/deps/f && echo mine >> dep/lib && rm dep/old && mv dep moved && mv moved dep && ln -s lib dep/link && echo more > ~/.cache/deps/g &&
		echo changed >> README.md && git commit -qam work && (while :; do :; sleep 0.01; done) > /dev/null 2>&1 &`)
	local.Sh(t, s, `mkdir -p dep/deep && echo "token=$SECRET" > dep/deep/config`)
	err = l.Promote(t.Context(), s.ID())
	if !errors.Is(err, agent.ErrNotPromoted) || !strings.Contains(err.Error(), "dep/deep/config") || !strings.Contains(err.Error(), "SECRET") || strings.Contains(err.Error(), "planted") {
		t.Errorf("with a secret, Promote returns %v", err)
	}
	second := l.Create("second", remote.URL(), "")
	local.Sh(t, s, "rm -r dep/deep")
	if err := l.Promote(t.Context(), s.ID()); err != nil {
		t.Fatal(err)
	}
	isPrepared(t, said)
	third := l.Create("third", remote.URL(), "")
	const look = `git status --porcelain; git log --format=%s -1; cat dep/lib dep/link ~/.cache/deps/*; ls dep; stat -c %U dep/lib ~/.cache/deps/g | sort -u | grep -c "^$(id -un)$"; git diff --stat`
	if got := local.Sh(t, third, look); !strings.HasSuffix(got, "made\nmine\nmade\nmine\nmade\nmore\nlib\nlink\n1") || strings.Contains(got, "work") {
		t.Errorf("a session that began afterwards has %q", got)
	}
	if got := local.Sh(t, second, "cat dep/lib; ls dep"); got != "made\nlib\nold" {
		t.Errorf("a session that began before has %q", got)
	}
	local.Sh(t, third, "echo evil > dep/lib")
	if got := local.Sh(t, s, "cat dep/lib; git log --format=%s -1"); got != "made\nmine\nwork" {
		t.Errorf("the session itself has %q", got)
	}
	local.Sh(t, s, "echo 2 > lock.txt")
	if err := l.Promote(t.Context(), s.ID()); !errors.Is(err, agent.ErrNotPromoted) || !strings.Contains(err.Error(), "lock.txt") {
		t.Errorf("with another lock file, Promote returns %v", err)
	}
	fourth := l.Create("fourth", remote.URL(), "")
	if got := local.Sh(t, fourth, "cat dep/lib"); got != "made\nmine" {
		t.Errorf("a later session has %q", got)
	}
}
