package agent_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/agent/internal/agenttest"
	"github.com/berth-go/berth/internal/test/need"
)

func TestManyPacksBecomeOneAndBorrowersLoseNothing(t *testing.T) {
	r := start(t)
	packs := func() int {
		found, _ := filepath.Glob(r.agent.Dir + "/mirror/repo.git/objects/pack/*.pack")
		return len(found)
	}
	bring := func(i int) {
		r.git.Commit("small", map[string]string{"f": fmt.Sprint(i)})
		r.fetch(t, agent.Fetch{})
	}
	// A checkout borrows from a branch that is gone when the packs are made one.
	r.git.Git("small", "checkout", "-q", "-b", "gone")
	bring(0)
	if _, err := r.Open(testContext(t), agent.Session{ID: "s", UID: 10001, Dir: "small", URL: r.url, Branch: "gone"}); err != nil {
		t.Fatal(err)
	}
	r.git.Git("small", "checkout", "-q", "main")
	r.git.Git("small", "branch", "-q", "-D", "gone")
	for i := 1; packs() <= 20; i++ {
		if bring(i); i > 30 {
			t.Fatalf("%d packs after %d fetches", packs(), i)
		}
		if i < 15 && packs() < i {
			t.Fatalf("%d packs after %d fetches: consolidated too soon", packs(), i)
		}
		if i >= 15 && packs() == 1 {
			break
		}
	}
	for deadline := time.Now().Add(patience); packs() != 1; time.Sleep(20 * time.Millisecond) {
		if time.Now().After(deadline) {
			log, _ := os.ReadFile(r.agent.Log)
			t.Fatalf("there are %d packs\n%s", packs(), log)
		}
	}
	if out, exit := r.run(t, "s", "git fsck --full --no-dangling 2>&1 && git log --oneline | wc -l && git status -s && cat f"); exit.Code != 0 || out != "2\n0" {
		t.Errorf("the borrower: %+v %s", exit, out)
	}
	if m := r.fetch(t, agent.Fetch{}); m.Cold || m.Size == 0 {
		t.Errorf("the next fetch: %+v", m)
	}
	r.session(t, "t", 10002)
	if out, exit := r.run(t, "t", "git fsck --full --no-dangling 2>&1"); exit.Code != 0 || out != "" {
		t.Errorf("a new checkout: %+v %s", exit, out)
	}
	if left, _ := filepath.Glob(r.agent.Dir + "/mirror/repo.git/objects/pack/.tmp-*"); len(left) > 0 {
		t.Errorf("left: %v", left)
	}
}

// slowRepack puts a git before the real one whose repack takes for ever and leaves litter, as a killed one does.
const slowRepack = `mkdir -p bin
cat >bin/git <<'X'
#!/bin/sh
case " $* " in *" repack "*) : >objects-litter; mv objects-litter repo.git/objects/pack/.tmp-1-pack-x.pack; exec sleep 1000;; esac
exec GIT "$@"
X
chmod -R a+rx bin
PATH=$PWD/bin:$PATH`

func TestConsolidationIsInNobodysWay(t *testing.T) {
	real := need.Program(t, "git")
	r := startOn(t, agenttest.StartAfter(t, strings.Replace(slowRepack, "GIT", real, 1)))
	litter := r.agent.Dir + "/mirror/repo.git/objects/pack/.tmp-1-pack-x.pack"
	running := func(want bool) {
		t.Helper()
		for deadline := time.Now().Add(patience); ; time.Sleep(5 * time.Millisecond) {
			if _, err := os.Stat(litter); (err == nil) == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("repack runs: %v", !want)
			}
		}
	}
	for i := range 21 {
		r.git.Commit("small", map[string]string{"f": fmt.Sprint(i)})
		r.fetch(t, agent.Fetch{})
	}
	for range 2 { // a fetch ends it, and it is tried again after that
		running(true)
		os.Remove(litter)
		begun := time.Now()
		if m := r.fetch(t, agent.Fetch{}); m.Cold {
			t.Errorf("%+v", m)
		}
		if took := time.Since(begun); took > patience/2 {
			t.Errorf("the fetch took %v", took)
		}
	}
	running(true)
	r.session(t, "s", 10001)
	if out, exit := r.run(t, "s", "git fsck --full 2>/dev/null && cat f"); exit.Code != 0 || out != "20" {
		t.Errorf("%+v %s", exit, out)
	}
	pid, ended := r.agent.Pid(), r.agent.Ended()
	begun := time.Now()
	syscall.Kill(pid, syscall.SIGTERM)
	select {
	case <-ended:
		t.Logf("took %v", time.Since(begun))
	case <-time.After(patience / 4):
		syscall.Kill(pid, syscall.SIGKILL)
		t.Error("the agent goes on")
	}
	running(false)
}
