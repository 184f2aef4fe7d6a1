package agent_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// TestASelfContainedCheckout needs nothing of the mirror once it is made.
func TestASelfContainedCheckout(t *testing.T) {
	r := start(t)
	for i := range 3 { // some packs
		r.git.Commit("small", map[string]string{"f": strings.Repeat(strconv.Itoa(i), 5000)})
		r.fetch(t, agent.Fetch{})
	}
	r.git.Git("small", "tag", "-a", "-m", "x", "v1")
	r.fetch(t, agent.Fetch{})
	for id, s := range map[string]agent.Session{"main": {UID: 10001}, "tag": {UID: 10002, Branch: "v1"}} {
		s.ID, s.Dir, s.URL, s.SelfContained = id, "x", r.url, true
		if _, err := r.Open(testContext(t), s); err != nil {
			t.Fatal(err)
		}
	}
	r.session(t, "borrowing", 10003)
	if err := os.Chmod(r.agent.Inside(r.agent.Dir+"/mirror"), 0); err != nil {
		t.Fatal(err)
	}
	const script = `set -e
		test ! -e .git/objects/info/alternates; git status --porcelain; git fsck --full 2>&1; git log --all --format=%h | wc -l
		find .git ! -user $(id -u) -o -type d ! -perm -700
		git -c user.name=a -c user.email=b commit -q --allow-empty -m mine; git gc -q --prune=now; git log --format=%h | wc -l`
	for _, id := range []string{"main", "tag"} {
		if out, exit := r.run(t, id, script); exit.Code != 0 || out != "4\n5\n" {
			t.Errorf("%s: %+v %s", id, exit, out)
		}
	}
	if out, exit := r.run(t, "borrowing", "git log 2>&1"); exit.Code == 0 {
		t.Errorf("the mirror can be read, so this test shows nothing: %s", out)
	}
	if err := os.Chmod(r.agent.Inside(r.agent.Dir+"/mirror"), 0o755); err != nil {
		t.Fatal(err)
	}
}

// TestASelfContainedCheckoutOfADumbRemote has objects that are in no pack.
func TestASelfContainedCheckoutOfADumbRemote(t *testing.T) {
	r := start(t)
	r.git.Git("small", "gc", "-q")
	r.git.Commit("small", map[string]string{"dir/loose": "loose\n"}) // some of each
	r.git.Git("small", "update-server-info")
	dumb := httptest.NewServer(http.FileServer(http.Dir(r.git.Dir)))
	t.Cleanup(dumb.Close)
	one := another(t, r, dumb.URL+"/small/.git")
	one.fetch(t, agent.Fetch{})
	if loose, _ := filepath.Glob(one.agent.Inside(one.agent.Dir + "/mirror/repo.git/objects/??/*")); len(loose) == 0 {
		t.Fatal("the mirror has no loose objects, so this test shows nothing")
	}
	for id, s := range map[string]agent.Session{"copy": {UID: 10001, SelfContained: true}, "borrowing": {UID: 10002}} {
		s.ID, s.Dir, s.URL = id, "x", one.url
		if _, err := one.Open(testContext(t), s); err != nil {
			t.Fatalf("%s: %v", id, err)
		}
		out, exit := one.run(t, id, `set -e; cat dir/loose; git status --porcelain; git fsck --full 2>&1; git log --format=%h | wc -l
			find .git ! -user $(id -u) -o -type d ! -perm -700`)
		if exit.Code != 0 || out != "loose\n2\n" {
			t.Errorf("%s: %+v %s", id, exit, out)
		}
	}
}

// TestASelfContainedCheckoutWithoutRoom fails with the reason, and leaves nothing.
func TestASelfContainedCheckoutWithoutRoom(t *testing.T) {
	r := startOn(t, agenttest.StartAfter(t, "mkdir sessions; mount -t tmpfs -o size=2m none sessions"))
	r.git.Commit("small", map[string]string{"large": large(1, 3<<20)})
	r.git.Git("small", "rm", "-q", "large")
	r.git.Git("small", "commit", "-q", "-m", "it is in the history alone")
	r.fetch(t, agent.Fetch{})
	s := agent.Session{ID: "a", UID: 10001, Dir: "x", URL: r.url, SelfContained: true}
	_, err := r.Open(testContext(t), s)
	noSpace(t, "a self-contained checkout", err)
	if entries, _ := os.ReadDir(r.agent.Inside(r.agent.Dir + "/sessions")); len(entries) != 0 {
		t.Errorf("left: %v", entries)
	}
	s.SelfContained = false
	if _, err := r.Open(testContext(t), s); err != nil {
		t.Errorf("one that borrows: %v", err)
	}
}
