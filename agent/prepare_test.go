package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
)

// prepares asks for a prepared layer of a branch, and returns what happened in words: "made", "there", or why there is none.
func (r *ready) prepares(t *testing.T, branch, command string, change ...func(*agent.Preparation)) string {
	t.Helper()
	p := agent.Preparation{
		URL: r.url, Branch: branch, Dir: "small", Image: "sha256:one", Env: map[string]string{"TOKEN": "https://me:hunter2hunter2@proxy"},
		Prepare: agent.Prepare{Run: [][]string{{"true"}, {"sh", "-c", command}}, Files: []string{"lock"}, Dirs: []string{"pkg/cache", "none"}},
	}
	for _, f := range change {
		f(&p)
	}
	made, err := r.Prepare(testContext(t), p, nil)
	switch {
	case err != nil:
		t.Fatal(err)
	case made.Failed != nil && made.Failed.Known:
		return "known: " + made.Failed.Error()
	case made.Failed != nil:
		return made.Failed.Error()
	case made.Made && made.Took > 0:
		return "made"
	case made.Commit != "":
		return "there"
	}
	return made.Unshared
}

// preparedFiles returns the names of the files of all prepared layers, each once.
func (r *ready) preparedFiles(t *testing.T) string {
	t.Helper()
	top := r.agent.Inside(r.agent.Dir + "/mirror/.prepared")
	var all []string
	err := filepath.WalkDir(top, func(path string, d os.DirEntry, err error) error {
		if err != nil {
			return err
		}
		rel, _ := filepath.Rel(top, path)
		parts := strings.Split(rel, "/")
		if len(parts) < 4 {
			return nil
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if info.Sys().(*syscall.Stat_t).Uid != layerUID {
			t.Errorf("%s has another owner", path)
		}
		all = append(all, strings.Join(parts[2:], "/"))
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(all)
	return strings.Join(slices.Compact(all), " ")
}

// nothingPrepares checks that no process and no file of a making is left.
func (r *ready) nothingPrepares(t *testing.T) {
	t.Helper()
	if left := processesOf(r, layerUID); len(left) > 0 {
		t.Errorf("processes are left: %v", left)
	}
	if left := globbed(r.agent.Inside(r.agent.Dir + "/sessions/prepare*")); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
}

const install = `mkdir -p ~/pkg/cache dep/x deep/own && echo p > ~/pkg/cache/p && cp lock dep/x/copy && ln -s /usr/bin/env dep/env &&
	echo changed >> lock && echo u > deep/own/u && rm deep/file && rm -r gone && ln -s / gone && echo secret > ~/other && id -u > dep/uid`

// withLock commits a lock file, and others that the commands change.
func (r *ready) withLock(lock string) {
	r.git.Commit("small", map[string]string{"lock": lock, "deep/file": "x", "gone/away": "y"})
}

// TestAPreparedLayerHasWhatTheCommandsAdd, and none of the files of the commit, whatever they did to these.
func TestAPreparedLayerHasWhatTheCommandsAdd(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := startOn(t, agenttest.Start(t, "-refuse-checkouts"))
		r.withLock("one")
		before := r.fetch(t, agent.Fetch{}).Size
		if got := r.prepares(t, "", install); got != "made" {
			t.Fatal(got)
		}
		const want = "checkout/deep checkout/deep/own checkout/deep/own/u checkout/dep checkout/dep/env checkout/dep/uid checkout/dep/x " +
			"checkout/dep/x/copy dir0/p"
		if got := r.preparedFiles(t); got != want {
			t.Errorf("the layer has\n%s\nwant\n%s", got, want)
		}
		if uid := globbed(r.agent.Inside(r.agent.Dir + "/mirror/.prepared/*/*/checkout/dep/uid")); len(uid) != 1 {
			t.Error(uid)
		} else if text, _ := os.ReadFile(uid[0]); string(text) != fmt.Sprintln(layerUID) {
			t.Errorf("the commands ran as %s", text)
		}
		r.nothingPrepares(t)
		if after := r.fetch(t, agent.Fetch{}).Size; after < before+4*4096 {
			t.Errorf("the mirror's size is %d without and %d with a layer", before, after)
		}
		if got := r.prepares(t, "", install); got != "there" {
			t.Errorf("the second time: %s", got)
		}
		r.agent.Restart()
		r.Client = r.agent.Client(agent.ClientOptions{})
		r.fetch(t, agent.Fetch{})
		if got := r.preparedFiles(t); got != want {
			t.Errorf("after a start of the agent, the layer has %s", got)
		}
	})
}

// TestWhichCommitsALayerIsFor: newer ones with the same files, of the same branch, or of any if it was made from the default branch. A
// commit beside them, or with other files, has a layer of its own.
func TestWhichCommitsALayerIsFor(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := startOn(t, agenttest.Start(t, "-refuse-checkouts"))
		r.withLock("one")
		main := r.git.Git("small", "rev-parse", "--abbrev-ref", "HEAD")
		r.git.Git("small", "checkout", "-q", "-b", "feature")
		r.git.Commit("small", map[string]string{"evil": "x"}) // the lock file is the same
		evil := r.git.Git("small", "rev-parse", "HEAD")
		r.git.Commit("small", map[string]string{"evil": "undone"})
		r.git.Git("small", "checkout", "-q", main)
		r.fetch(t, agent.Fetch{})
		step := func(when, branch, want string, change ...func(*agent.Preparation)) {
			t.Helper()
			if got := r.prepares(t, branch, "echo x > new", change...); got != want {
				t.Errorf("%s: %s, want %s", when, got, want)
			}
		}
		step("a commit by its ID", evil, "made")
		step("a newer commit of a branch", "feature", "made")
		r.git.Git("small", "checkout", "-q", "feature")
		r.git.Commit("small", map[string]string{"more": "x"})
		r.git.Git("small", "checkout", "-q", main)
		r.fetch(t, agent.Fetch{})
		step("the same branch later", "feature", "there")
		step("the default branch, which is older", "", "made")
		r.git.Git("small", "merge", "-q", "--no-ff", "-m", "merged", "feature")
		r.fetch(t, agent.Fetch{})
		step("the default branch later", main, "there")
		step("another branch on it, but for the layer of its own", "feature", "there")
		step("another image", "", "made", func(p *agent.Preparation) { p.Image = "sha256:two" })
		step("other commands", "", "made", func(p *agent.Preparation) { p.Prepare.Run = p.Prepare.Run[1:] })
		step("another bound", "", "there", func(p *agent.Preparation) { p.Prepare.Timeout = time.Hour })
		r.git.Commit("small", map[string]string{"sub/lock": "two"})
		r.fetch(t, agent.Fetch{})
		step("other files", "", "made")
		none := func(p *agent.Preparation) { p.Prepare.Files = []string{"none"} }
		step("no such files", "", "made", none)
		r.git.Commit("small", map[string]string{"x": "y"})
		r.fetch(t, agent.Fetch{})
		step("no such files, on another commit", "", "made", none)
		if left := globbed(r.agent.Inside(r.agent.Dir + "/mirror/.prepared/*")); len(left) != 3 {
			t.Errorf("%d layers are kept that nobody uses", len(left))
		}
	})
}

// TestAPreparationThatFails leaves nothing, says why without a secret, and is not tried again at once. What it has left behind does not
// change a layer that was made.
func TestAPreparationThatFails(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := startOn(t, agenttest.Start(t, "-refuse-checkouts"))
		r.withLock("one")
		r.fetch(t, agent.Fetch{})
		for n, c := range []struct{ command, want string }{
			{"echo cannot reach $TOKEN of hunter2hunter2 >&2; exit 3", "exit status 3: cannot reach"},
			{"head -c 3M /dev/zero > zero", "larger than MaxBytes"},
			{"head -c 3M /dev/zero > ~/zero; exec sleep 1000", "larger than MaxBytes"},
			{"exec sleep 1000", "it took longer than 4s"},
			{"kill -9 $$", "signal 9"},
		} {
			change := func(p *agent.Preparation) {
				p.Prepare.MaxBytes = 2 << 20
				p.Image = fmt.Sprint(n)
				if strings.Contains(c.want, "longer") {
					p.Prepare.Timeout = 4 * time.Second
				}
			}
			got := r.prepares(t, "", c.command, change)
			if !strings.HasPrefix(got, "the workspace was not prepared") || !strings.Contains(got, c.want) || strings.Contains(got, "hunter2") {
				t.Errorf("%s: %s", c.command, got)
			}
			if again := r.prepares(t, "", c.command, change); again != "known: "+got {
				t.Errorf("%s: the second time: %s", c.command, again)
			}
			if got := r.preparedFiles(t); got != "" {
				t.Errorf("%s: a layer has %s", c.command, got)
			}
			r.nothingPrepares(t)
		}
		if got := r.prepares(t, "", "echo good > file; (while :; do echo evil > late; done) & :"); got != "made" {
			t.Error(got)
		}
		r.nothingPrepares(t)
	})
}

// TestWithoutLayersNothingIsPrepared: no session could use it. Sessions start without.
func TestWithoutLayersNothingIsPrepared(t *testing.T) {
	test := func(t *testing.T) {
		r := start(t)
		r.withLock("one")
		r.fetch(t, agent.Fetch{})
		if got := r.prepares(t, "", "true"); !strings.Contains(got, "warden") {
			t.Errorf("%q", got)
		}
		co, err := r.Open(testContext(t), agent.Session{
			ID: "a", UID: 10001, Dir: "small", URL: r.url, Prepare: agent.Prepare{Run: [][]string{{"true"}}},
		})
		if err != nil || co.Prepared != "" {
			t.Errorf("%+v, %v", co, err)
		}
	}
	t.Run("alone", test)
	inRooms(t, test)
}

func TestPreparationsAreChecked(t *testing.T) {
	good := agent.Prepare{Run: [][]string{{"npm", "ci"}}, Dirs: []string{".npm"}}
	if reason := good.Check(); reason != "" {
		t.Error(reason)
	}
	if reason := (agent.Prepare{}).Check(); reason != "" {
		t.Error(reason)
	}
	for want, change := range map[string]func(*agent.Prepare){
		"must have a program":  func(p *agent.Prepare) { p.Run = [][]string{{"a"}, {}} },
		"may hold NUL":         func(p *agent.Prepare) { p.Run = [][]string{{"a\x00"}} },
		"Run may have 64":      func(p *agent.Prepare) { p.Run = slices.Repeat(p.Run, 100) },
		"must be patterns":     func(p *agent.Prepare) { p.Files = []string{"["} },
		"Dirs[0]: its Dir":     func(p *agent.Prepare) { p.Dirs = []string{"../x"} },
		"Dirs[1]: its Dir is":  func(p *agent.Prepare) { p.Dirs = []string{"a", "a/b"} },
		"Dirs may have 8":      func(p *agent.Prepare) { p.Dirs = strings.Split("a b c d e f g h i", " ") },
		"MaxBytes must not":    func(p *agent.Prepare) { p.MaxBytes = -1 },
		"Timeout must not":     func(p *agent.Prepare) { p.Timeout = -1 },
		"Wait must not be neg": func(p *agent.Prepare) { p.Wait = -1 },
	} {
		bad := good
		change(&bad)
		if reason := bad.Check(); !strings.Contains(reason, want) {
			t.Errorf("%s: got %q", want, reason)
		}
	}
}

// TestDevcontainer: its commands prepare, its variables are in the environment of all commands, and the rest is named. One that cannot
// be read changes nothing.
func TestDevcontainer(t *testing.T) {
	inRooms(t, func(t *testing.T) {
		r := startOn(t, agenttest.Start(t, "-refuse-checkouts"))
		r.git.Commit("small", map[string]string{".devcontainer/devcontainer.json": `{ // of the repository
			"image": "evil", "mounts": ["source=/,target=/host,type=bind"], "privileged": true, "runArgs": ["--privileged"],
			"onCreateCommand": "echo $FROM $TOKEN > made", "updateContentCommand": ["sh", "-c", "cat made made > more"],
			"containerEnv": {"FROM": "file", "TOKEN": "file", "HOME": "/evil"}, "remoteEnv": {"OVER": "file",}, }`})
		r.fetch(t, agent.Fetch{})
		what := agent.Prepare{Devcontainer: true}
		p := agent.Preparation{URL: r.url, Dir: "small", Env: map[string]string{"TOKEN": "pool"}, Prepare: what}
		made, err := r.Prepare(testContext(t), p, nil)
		if want := "[containerEnv.HOME image mounts privileged runArgs]"; err != nil || !made.Made || fmt.Sprint(made.Unsupported) != want {
			t.Errorf("%+v, %v", made, err)
		}
		for name, want := range map[string]string{"made": "file pool\n", "more": "file pool\nfile pool\n"} {
			files := globbed(r.agent.Inside(r.agent.Dir + "/mirror/.prepared/*/*/checkout/" + name))
			if len(files) != 1 {
				t.Fatalf("%s: %v", name, files)
			}
			if text, err := os.ReadFile(files[0]); err != nil || string(text) != want {
				t.Errorf("%s has %q, %v", name, text, err)
			}
		}
		good := r.git.Git("small", "rev-parse", "HEAD")
		r.git.Commit("small", map[string]string{".devcontainer/devcontainer.json": "[1"})
		r.fetch(t, agent.Fetch{})
		if made, err := r.Prepare(testContext(t), p, nil); err != nil || made.Made || len(made.Unsupported) != 1 || !strings.Contains(made.Unsupported[0], "not valid") {
			t.Errorf("%+v, %v", made, err)
		}
		open := func(id string, uid int, what agent.Prepare) {
			t.Helper()
			s := agent.Session{ID: id, UID: uid, Dir: "small", URL: r.url, Branch: good, Prepare: what, Env: map[string]string{"OVER": "session"}}
			if _, err := r.Open(testContext(t), s); err != nil {
				t.Fatal(err)
			}
		}
		open("a", 10001, what)
		if out, _ := r.run(t, "a", "echo $FROM $OVER; basename $HOME"); out != "file session\nhome\n" {
			t.Errorf("a session has %q", out)
		}
		open("b", 10002, agent.Prepare{})
		if out, _ := r.run(t, "b", "echo $FROM $OVER"); out != "session\n" {
			t.Errorf("where the host does not say so, a session has %q", out)
		}
	})
}
