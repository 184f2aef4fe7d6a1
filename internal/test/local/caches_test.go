package local_test

import (
	"testing"

	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/orchestrator"
)

// TestLocalSessionsShareACache lives through a cache on the real engine: it is filled beside the first session, the next one has its
// files as its own, and what that one does to them nobody else sees.
func TestLocalSessionsShareACache(t *testing.T) {
	t.Parallel()
	l, filled := newWithCache(t, "", orchestrator.Cache{
		Name: "deps", Dir: ".cache/deps", Files: []string{"README.md"},
		Fill: []string{"sh", "-c", "mkdir -p ~/.cache/deps/p && cp README.md ~/.cache/deps/p/ && chmod 444 ~/.cache/deps/p/* && chmod 555 ~/.cache/deps/p"},
	}, nil)
	remote := l.Git.Create("org/caches", gittest.Small())
	first := l.Create("first", remote.URL(), "")
	filled()
	if got := local.Sh(t, first, "ls -A ~/.cache/deps 2>&1 | grep -c 'No such file'"); got != "1" {
		t.Errorf("the session that was there before has %s", got)
	}

	second, third := l.Create("second", remote.URL(), ""), l.Create("third", remote.URL(), "")
	const look = "cd ~/.cache/deps && find . -type f && cmp p/README.md $OLDPWD/README.md && stat -c %U p/README.md | grep -c ^$(id -un)$ && touch mine && ls"
	const want = "./p/README.md\n1\nmine\np"
	if got := local.Sh(t, second, look); got != want {
		t.Errorf("the second session has %q", got)
	}
	local.Sh(t, second, "chmod -R u+w ~/.cache/deps && echo evil > ~/.cache/deps/p/README.md && echo evil > ~/.cache/deps/p/more && mv ~/.cache/deps/p ~/.cache/deps/q")
	if got := local.Sh(t, third, look); got != want {
		t.Errorf("the third session has %q", got)
	}
	if got := local.Sh(t, third, "ls /berth/mirror/.caches 2>&1 | grep -c denied"); got != "1" {
		t.Errorf("the layers are in reach: %s", got)
	}
	if err := l.TerminateSession(t.Context(), second.ID()); err != nil {
		t.Fatal(err)
	}
	if got := local.Sh(t, l.Create("fourth", remote.URL(), ""), look); got != want {
		t.Errorf("after the end of the second session, another has %q", got)
	}
}
