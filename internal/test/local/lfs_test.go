package local_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
)

// TestLocalLFSAndSubmodules: files of Git LFS go up and come down, and submodules come, with the credentials that are asked for.
func TestLocalLFSAndSubmodules(t *testing.T) {
	k := &tokens{byUser: map[string]string{"ann": "t0ken"}}
	l := local.New(t, berth.Config{Image: testenv.ImageWith(t, "git-lfs"), Credentials: k.ask, MirrorMaxAge: 1})
	remote, lib := l.Git.Create("org/big", gittest.Small()), l.Git.Create("org/lib", gittest.Small())
	lib.Commit("main", "lib.txt", "of the library\n")
	create := func(task string, submodules, lfs bool) *berth.Session {
		t.Helper()
		s, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: task, UserID: "ann", Repository: remote.URL(), Submodules: submodules, LFS: lfs})
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	for _, r := range []*gittest.Remote{remote, lib} {
		r.RequireCredentials("robot", "t0ken")
	}
	first := create("first", false, true)
	local.Sh(t, first, `git lfs track '*.bin' && head -c 100000 /dev/zero >big.bin && git add . &&
		git submodule --quiet add ../lib.git lib && git commit -q -m big && git push -q origin HEAD 2>&1`)
	if n := remote.LFSFiles(); n != 1 {
		t.Errorf("the server has %d files", n)
	}
	pushes := false
	for _, r := range k.requests() {
		pushes = pushes || r.Purpose == berth.PurposePush
		if r.Repository.Path != "org/big" && r.Repository.Path != "org/lib" {
			t.Errorf("asked %+v", r)
		}
	}
	if !pushes {
		t.Error("no question was for a push")
	}
	const look = "wc -c <big.bin; cat lib/lib.txt; git status --porcelain; git -C lib status --porcelain"
	if got := local.Sh(t, create("both", true, true), look); got != "100000\nof the library" {
		t.Errorf("with both: %s", got)
	}
	if got := local.Sh(t, create("neither", false, false), "head -1 big.bin; ls lib"); got != "version https://git-lfs.github.com/spec/v1" {
		t.Errorf("with neither: %s", got)
	}
	k.set("ann", "wr0ng") // for the submodule; the mirror is fetched with it, too
	_, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "refused", UserID: "ann", Repository: remote.URL(), Submodules: true})
	if err == nil || strings.Contains(err.Error(), "wr0ng") {
		t.Errorf("a wrong token: %v", err)
	}
}

// TestLocalLFSNeedsItsProgram: the error says what the image lacks.
func TestLocalLFSNeedsItsProgram(t *testing.T) {
	t.Parallel()
	l := local.New(t, berth.Config{})
	remote := l.Git.Create("org/plain", gittest.Small())
	_, err := l.CreateSession(t.Context(), berth.SessionRequest{TaskID: "t", UserID: "ann", Repository: remote.URL(), LFS: true})
	if _, ok := errors.AsType[*agent.GitError](err); !ok || !strings.Contains(err.Error(), "the image has no git-lfs") {
		t.Errorf("%v", err)
	}
}
