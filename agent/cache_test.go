package agent_test

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
)

const layerUID = 9997 // fills caches, and owns what was filled

// fills asks for the cache "pkg", which the command fills, and returns what happened in words.
func (r *ready) fills(t *testing.T, command string, change ...func(*agent.Cache)) string {
	t.Helper()
	c := agent.Cache{Name: "pkg", Dir: "pkg/cache", Files: []string{"lock", "*/lock"}, Fill: []string{"sh", "-c", command}}
	for _, f := range change {
		f(&c)
	}
	f := agent.Fill{URL: r.url, Caches: []agent.Cache{c}, Env: map[string]string{"TOKEN": "https://me:hunter2hunter2@proxy"}}
	made, err := r.FillCaches(testContext(t), f, nil)
	if err != nil {
		t.Fatal(err)
	}
	text := strings.Join(made.Names, " ") + made.Unshared
	for _, failed := range made.Failed {
		text += failed.Error()
	}
	return text
}

// layer returns the files of the layer of "pkg", as "name=content".
func (r *ready) layer(t *testing.T) string {
	t.Helper()
	var all []string
	files, err := filepath.Glob(r.agent.Inside(r.agent.Dir + "/mirror/.caches/pkg/*/*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		info, err := os.Stat(file)
		if err != nil || info.Sys().(*syscall.Stat_t).Uid != layerUID {
			t.Errorf("%s has another owner, or %v", file, err)
		}
		all = append(all, filepath.Base(file)+"="+strings.TrimSpace(string(text)))
	}
	return strings.Join(all, " ")
}

// nothingLeft checks that no process and no file of a fill is left.
func (r *ready) nothingLeft(t *testing.T) {
	t.Helper()
	if left := processesOf(r, layerUID); len(left) > 0 {
		t.Errorf("processes of a fill are left: %v", left)
	}
	if left := globbed(r.agent.Inside(r.agent.Dir + "/sessions/fill-*")); len(left) > 0 {
		t.Errorf("files of a fill are left: %v", left)
	}
}

// TestACacheIsFilledFromTheDefaultBranch, and from no other, when its files have changed there.
func TestACacheIsFilledFromTheDefaultBranch(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := start(t)
		r.fetch(t, agent.Fetch{})
		const command = "mkdir -p ~/pkg/cache && cat lock > ~/pkg/cache/lock && id -u > ~/pkg/cache/uid && pwd | grep -o 'fill-pkg/fill' > ~/pkg/cache/dir"
		if got := r.fills(t, command); got != "" || r.layer(t) != "" {
			t.Errorf("without the file: %s, and the layer has %s", got, r.layer(t))
		}
		r.git.Commit("small", map[string]string{"lock": "one"})
		before := r.fetch(t, agent.Fetch{}).Size
		const first = "dir=fill-pkg/fill lock=one uid=9997"
		if got := r.fills(t, command); got != "pkg" || r.layer(t) != first {
			t.Errorf("%s, and the layer has %s", got, r.layer(t))
		}
		r.nothingLeft(t)
		if after := r.fetch(t, agent.Fetch{}).Size; after < before+4*4096 {
			t.Errorf("the mirror's size is %d without and %d with a cache", before, after)
		}
		r.git.Git("small", "checkout", "-q", "-b", "evil")
		r.git.Commit("small", map[string]string{"lock": "evil"})
		r.git.Git("small", "checkout", "-q", "-")
		r.git.Commit("small", map[string]string{"other": "x"})
		r.fetch(t, agent.Fetch{Branch: "evil"})
		if _, err := r.Open(testContext(t), agent.Session{ID: "a", UID: 10001, Dir: "x", URL: r.url, Branch: "evil"}); err != nil {
			t.Fatal(err)
		}
		if got := r.fills(t, command); got != "" || r.layer(t) != first {
			t.Errorf("after a commit elsewhere: %s, and the layer has %s", got, r.layer(t))
		}
		r.git.Commit("small", map[string]string{"below/lock": "two", "lock": "two"})
		r.fetch(t, agent.Fetch{})
		if got := r.fills(t, command); got != "pkg" || r.layer(t) != strings.Replace(first, "one", "two", 1) {
			t.Errorf("after the file has changed: %s, and the layer has %s", got, r.layer(t))
		}
		r.agent.Restart()
		r.Client = r.agent.Client(agent.ClientOptions{})
		r.fetch(t, agent.Fetch{})
		if got := r.fills(t, command); got != "" || r.layer(t) != strings.Replace(first, "one", "two", 1) {
			t.Errorf("after a start of the agent: %s, and the layer has %s", got, r.layer(t))
		}
	})
}

// TestAFillThatFails changes nothing of what sessions share, and leaves nothing; its error has no secret. It is not tried again at
// once.
func TestAFillThatFails(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := start(t)
		r.git.Commit("small", map[string]string{"lock": "one"})
		r.fetch(t, agent.Fetch{})
		const good = "mkdir -p ~/pkg/cache; cp lock ~/pkg/cache; "
		// What it has left behind does not write to the layer any more.
		if got := r.fills(t, good+"(while :; do echo evil > ~/pkg/cache/lock2; done) & :"); got != "pkg" {
			t.Fatal(got)
		}
		r.nothingLeft(t)
		whole := r.layer(t)
		for _, c := range []struct{ command, want string }{
			{good + "echo cannot reach $TOKEN of hunter2hunter2 >&2; exit 3", "exit status 3: cannot reach"},
			{good + "head -c 3M /dev/zero > ~/pkg/cache/zero", "larger than Cache.MaxBytes"},
			{good + "head -c 3M /dev/zero > ~/zero; exec sleep 1000", "larger than Cache.MaxBytes"},
			{"mkdir ~/pkg; ln -s / ~/pkg/cache", "escapes"},
			{"true", "nothing was filled"},
			{"kill -9 $$", "signal 9"},
		} {
			got := r.fills(t, c.command, func(c *agent.Cache) { c.MaxBytes = 2 << 20 })
			if !strings.Contains(got, `the cache "pkg" was not filled`) || !strings.Contains(got, c.want) || strings.Contains(got, "hunter2") {
				t.Errorf("%s: %s", c.command, got)
			}
			if again := r.fills(t, c.command, func(c *agent.Cache) { c.MaxBytes = 2 << 20 }); again != "" {
				t.Errorf("%s: it was tried again at once: %s", c.command, again)
			}
			if r.layer(t) != whole {
				t.Errorf("%s: the layer has %s, and had %s", c.command, r.layer(t), whole)
			}
			r.nothingLeft(t)
		}
	})
}

// TestAFillThatIsGivenUp ends with all its processes. A cache that cannot be is refused.
func TestAFillThatIsGivenUp(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := start(t)
		r.git.Commit("small", map[string]string{"lock": "one"})
		r.fetch(t, agent.Fetch{})
		fill := agent.Fill{URL: r.url, Caches: []agent.Cache{{Name: "pkg", Dir: "d", Files: []string{"lock"}, Fill: []string{"sleep", "1000"}}}}
		ctx, cancel := context.WithCancel(testContext(t))
		_, err := r.FillCaches(ctx, fill, func(agent.Progress) {
			go func() {
				for len(processesOf(r, layerUID)) == 0 && ctx.Err() == nil {
					time.Sleep(10 * time.Millisecond)
				}
				cancel()
			}()
		})
		if !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		if got := r.fills(t, "mkdir -p ~/pkg/cache; cp lock ~/pkg/cache"); got != "pkg" { // when the other has ended
			t.Error(got)
		}
		r.nothingLeft(t)

		if err := os.MkdirAll(r.agent.Inside(r.agent.Dir+"/sessions/fill-pkg/home/left"), 0o700); err != nil {
			t.Fatal(err)
		}
		r.git.Commit("small", map[string]string{"lock": "two"})
		r.fetch(t, agent.Fetch{})
		if got := r.fills(t, "mkdir -p ~/pkg/cache; cp lock ~/pkg/cache"); got != "pkg" { // although an earlier one could not be cleared
			t.Error(got)
		}
		r.nothingLeft(t)
		fill.Caches[0].Dir = "../x"
		if _, err := r.FillCaches(testContext(t), fill, nil); err == nil || !strings.Contains(err.Error(), "its Dir must be") {
			t.Error(err)
		}
	})
}

// TestWithoutRoomsNoCacheIsShared: sessions could write to what they share.
func TestWithoutRoomsNoCacheIsShared(t *testing.T) {
	r := start(t)
	r.git.Commit("small", map[string]string{"lock": "one"})
	r.fetch(t, agent.Fetch{})
	if got := r.fills(t, "mkdir -p ~/pkg/cache; cp lock ~/pkg/cache"); !strings.Contains(got, "no rooms") {
		t.Error(got)
	}
	s := agent.Session{ID: "a", UID: 10001, Dir: "x", URL: r.url, Caches: []agent.SharedDir{{Name: "pkg", Dir: "pkg/cache"}}}
	if _, err := r.Open(testContext(t), s); err != nil {
		t.Fatal(err)
	}
	if out, exit := r.run(t, "a", "mkdir -p ~/pkg/cache && touch ~/pkg/cache/f && ls ~/pkg/cache"); out != "f\n" || exit.Code != 0 {
		t.Errorf("%q %+v", out, exit)
	}
}

func TestCachesAreChecked(t *testing.T) {
	good := agent.Cache{Name: "go", Dir: "go/pkg/mod", Files: []string{"go.sum"}, Fill: []string{"go", "mod", "download"}}
	if field, reason := agent.CheckCaches([]agent.Cache{good}); reason != "" {
		t.Errorf("%s %s", field, reason)
	}
	for want, change := range map[string]func(*agent.Cache){
		"its Name must":            func(c *agent.Cache) { c.Name = "Go" },
		"another cache has":        func(c *agent.Cache) { c.Name = "go" },
		"its Dir must":             func(c *agent.Cache) { c.Dir = "/var/cache" },
		"its Dir is that":          func(c *agent.Cache) { c.Dir = "go" },
		"its Files must":           func(c *agent.Cache) { c.Files = []string{"["} },
		"its Fill must":            func(c *agent.Cache) { c.Fill = nil },
		"its MaxBytes must not":    func(c *agent.Cache) { c.MaxBytes = -1 },
		"must be a clean path bel": func(c *agent.Cache) { c.Dir = "a/../b" },
	} {
		bad := good
		bad.Name, bad.Dir = "other", "other"
		change(&bad)
		if field, reason := agent.CheckCaches([]agent.Cache{good, bad}); field != "[1]" || !strings.Contains(reason, want) {
			t.Errorf("%s: got %q %q", want, field, reason)
		}
	}
}
