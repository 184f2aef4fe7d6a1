package local_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/internal/test/testenv"
)

const mib = 1 << 20

// TestLocalDiskFull: on a full disk, sessions that need room fail with an error that says why. Nothing of them is left,
// and other sessions go on.
func TestLocalDiskFull(t *testing.T) {
	git, image := gittest.NewSmartServer(t), testenv.Image(t) // by the machine's engine
	second := testenv.StartSecondEngine(t, testenv.SecondEngineOptions{Disk: 384 * mib})
	t.Setenv("DOCKER_HOST", second.Address)
	f := &fullDisk{Pool: local.New(t, berth.Config{Image: image}), dir: second.Data}
	f.Git = git // where the second engine's containers reach it
	f.small = git.Create("org/small", gittest.Small())
	f.end(f.Create("first", f.small.URL(), "")) // now the engine has the volumes that all containers share
	f.whileCloning()
	f.whileCheckingOut()
	f.whileStarting()
}

// fullDisk is a pool whose engine has a small disk.
type fullDisk struct {
	*local.Pool
	dir   string // of all that is on the disk
	fills int
	small *gittest.Remote
}

func (f *fullDisk) end(s *berth.Session) {
	f.T.Helper()
	if err := f.TerminateSession(f.T.Context(), s.ID()); err != nil {
		f.T.Fatal(err)
	}
}

// free returns how many bytes of the disk are free.
func (f *fullDisk) free() int64 {
	f.T.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(f.dir, &st); err != nil {
		f.T.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// fill fills the disk up to the last room bytes, until empty is called.
func (f *fullDisk) fill(room int64) (empty func()) {
	f.T.Helper()
	f.fills++
	filler, err := os.Create(filepath.Join(f.dir, fmt.Sprint("filler", f.fills)))
	if err != nil {
		f.T.Fatal(err)
	}
	defer filler.Close()
	if err := syscall.Fallocate(int(filler.Fd()), 0, 0, f.free()-room); err != nil {
		f.T.Fatal(err)
	}
	return func() { os.Remove(filler.Name()) }
}

// work returns what matches a pattern in the volume that has the sessions of a container.
func (f *fullDisk) work(container, pattern string) []string {
	f.T.Helper()
	found, err := filepath.Glob(filepath.Join(f.dir, "volumes", container+"-work", "_data", pattern))
	if err != nil {
		f.T.Fatal(err)
	}
	return found
}

// awaitTrees waits until the trees in the container of a session are as is wanted, and nothing waits to be removed.
func (f *fullDisk) awaitTrees(s *berth.Session, wanted func(commits []string) bool) {
	f.T.Helper()
	container := s.Info().Container.Name
	for deadline := time.Now().Add(2 * time.Minute); ; time.Sleep(20 * time.Millisecond) {
		var commits []string
		for _, dir := range f.work(container, ".trees/*") {
			commits = append(commits, filepath.Base(dir))
		}
		if gone := f.work(container, ".gone/*"); len(gone) == 0 && wanted(commits) {
			return
		}
		if time.Now().After(deadline) {
			f.T.Fatalf("the trees are %v", commits)
		}
	}
}

func none(commits []string) bool { return len(commits) == 0 }

// has wants the tree of a commit.
func has(commit string) func(commits []string) bool {
	return func(commits []string) bool { return slices.Contains(commits, commit) }
}

// only wants the tree of a commit, and no other.
func only(commit string) func(commits []string) bool {
	return func(commits []string) bool { return slices.Equal(commits, []string{commit}) }
}

// refused creates a session that must fail in a phase, for lack of room.
func (f *fullDisk) refused(task string, remote *gittest.Remote, branch, phase string) {
	f.T.Helper()
	_, err := f.CreateSession(f.T.Context(), berth.SessionRequest{
		TaskID: task, UserID: "user", Repository: remote.URL(), Branch: branch,
	})
	failure, ok := errors.AsType[*berth.StartError](err)
	if !ok || failure.Phase != phase || !strings.Contains(strings.ToLower(failure.Error()), "no space left on device") {
		f.T.Fatalf("got %v, want a *StartError of phase %s that says that there is no space left on device", err, phase)
	}
	f.T.Log(err)
}

func (f *fullDisk) whileCloning() {
	content := make([]byte, 16*mib)
	rand.NewChaCha8([32]byte{}).Read(content) // not compressible
	big := f.Git.Create("org/big", gittest.Files(map[string]string{"big": string(content)}))
	empty := f.fill(8 * mib)
	before := f.free()
	f.refused("big", big, "", "fetching")
	f.Pool.WaitGone(f.T)
	if after := f.free(); after < before-mib {
		f.T.Errorf("the failed clone has left %d KiB", (before-after)>>10)
	}
	holds(f.T, f.Pool, 0)
	s := f.Create("small", f.small.URL(), "")
	local.Sh(f.T, s, "git fsck --full")
	f.end(s)

	empty()
	s = f.Create("big", big.URL(), "")
	if s.Info().Start != berth.StartCold {
		f.T.Errorf("with room it starts %s, from the remains of the failed clone", s.Info().Start)
	}
	if got := local.Sh(f.T, s, "git fsck --full; git status --porcelain; wc -c < big"); got != fmt.Sprint(len(content)) {
		f.T.Errorf("with room the checkout is %s", got)
	}
	f.end(s)
}

func (f *fullDisk) whileCheckingOut() {
	const size = 24 * mib
	remote := f.Git.Create("org/grows", gittest.Small())
	remote.Commit("big", "big", strings.Repeat("grows\n", size/6)) // small in the mirror
	a := f.Create("a", remote.URL(), "")
	cat := a.Command(f.T.Context(), "cat")
	in, inErr := cat.StdinPipe()
	out, outErr := cat.StdoutPipe()
	if err := errors.Join(inErr, outErr, cat.Start()); err != nil {
		f.T.Fatal(err)
	}

	empty := f.fill(8 * mib)
	f.refused("b", remote, "big", "checkout")
	holds(f.T, f.Pool, 1)
	if places := f.work(a.Info().Container.Name, "[^.]*"); len(places) != 1 || filepath.Base(places[0]) != a.ID() {
		f.T.Errorf("the places in the container are %v; want that of %s alone", places, a.ID())
	}
	f.awaitTrees(a, none) // what no session needs goes first
	if _, err := io.WriteString(in, "still there\n"); err != nil {
		f.T.Error(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "still there\n" {
		f.T.Errorf("the command of another session printed %q, %v", line, err)
	}
	in.Close()
	if err := cat.Wait(); err != nil {
		f.T.Errorf("the command of another session: %v", err)
	}
	local.Sh(f.T, a, "echo x > new.txt; git add new.txt; git commit -q -m 'A change'; git fsck --full")
	c := f.Create("c", remote.URL(), "dev")
	if c.Info().Container != a.Info().Container {
		f.T.Errorf("the next task is in %v, not in %v", c.Info().Container, a.Info().Container)
	}

	empty()
	b := f.Create("b", remote.URL(), "big")
	if got := local.Sh(f.T, b, "git status --porcelain; wc -c < big"); got != fmt.Sprint(size) {
		f.T.Errorf("with room the checkout is %s", got)
	}
	sessions := []*berth.Session{a, b, c}
	if b.Info().Instance.SharedCheckouts {
		sessions = append(sessions, f.overATree(b, remote, size)...)
	}
	for _, s := range sessions {
		f.end(s)
	}
}

// overATree has less room on the disk than the files of a commit take. A session that shares the tree of that commit needs none for
// them. The tree stays while it is used.
func (f *fullDisk) overATree(b *berth.Session, remote *gittest.Remote, size int64) (sessions []*berth.Session) {
	f.awaitTrees(b, has(remote.Head("big")))
	empty := f.fill(16 * mib)
	defer empty()
	before := f.free()
	d := f.Create("d", remote.URL(), "big")
	if got := local.Sh(f.T, d, "git status --porcelain; wc -c < big"); got != fmt.Sprint(size) || !isMounted(f.T, d) {
		f.T.Errorf("over a tree the checkout is %s; it is a mount: %t", got, isMounted(f.T, d))
	}
	if took := before - f.free(); took > 4*mib {
		f.T.Errorf("a session over a tree takes %d KiB", took>>10)
	}
	defer f.fill(mib)() // the disk is short: unused trees would go
	local.Sh(f.T, d, "cat big | wc -c; echo x >> big.txt; git add big.txt")
	f.awaitTrees(d, only(remote.Head("big")))
	return []*berth.Session{d}
}

// whileStarting fills the disk to the last byte. Sessions that exist can still be used and be ended.
func (f *fullDisk) whileStarting() {
	other := f.Git.Create("org/other", gittest.Small())
	s := f.Create("there", f.small.URL(), "")
	if s.Info().Instance.SharedCheckouts {
		f.awaitTrees(s, has(f.small.Head("main")))
	}
	empty := f.fill(0)
	f.awaitTrees(s, none) // which leaves some room
	last := f.fill(0)
	f.refused("other", other, "", "starting")
	if left := f.Containers(); len(left) != 1 {
		f.T.Errorf("the containers are %v, want the one from before", left)
	}
	local.Sh(f.T, s, "git fsck --full")
	f.end(s)
	f.Pool.WaitGone(f.T)
	holds(f.T, f.Pool, 0)
	last()
	empty()
	f.end(f.Create("other", other.URL(), ""))
}
