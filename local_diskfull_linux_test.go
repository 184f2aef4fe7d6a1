package berth_test

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/gittest"
	"github.com/berth-go/berth/internal/testenv"
)

const mib = 1 << 20

// TestLocalDiskFull: a full disk fails those who need room and tells them why, leaves nothing of them, and hurts
// nobody else.
func TestLocalDiskFull(t *testing.T) {
	git, image := gittest.NewSmartServer(t), testenv.Image(t) // by the machine's engine
	second := testenv.StartSecondEngine(t, testenv.SecondEngineOptions{Disk: 384 * mib})
	t.Setenv("DOCKER_HOST", second.Address)
	f := &fullDisk{local: newLocal(t, berth.Config{Image: image}), dir: second.Data}
	f.git = git // where the second engine's containers reach it
	f.small = git.Create("org/small", gittest.Small())
	f.end(f.create("first", f.small.URL(), "")) // from here on the engine has what all containers share
	f.whileCloning()
	f.whileCheckingOut()
	f.whileStarting()
}

// fullDisk is a pool whose engine has a small disk.
type fullDisk struct {
	*local
	dir   string // of all that is on the disk
	small *gittest.Remote
}

func (f *fullDisk) end(s *berth.Session) {
	f.t.Helper()
	if err := f.TerminateSession(f.t.Context(), s.ID()); err != nil {
		f.t.Fatal(err)
	}
}

// free returns how many bytes of the disk are free.
func (f *fullDisk) free() int64 {
	f.t.Helper()
	var st syscall.Statfs_t
	if err := syscall.Statfs(f.dir, &st); err != nil {
		f.t.Fatal(err)
	}
	return int64(st.Bavail) * st.Bsize
}

// fill takes all room of the disk but some bytes, until empty is called.
func (f *fullDisk) fill(room int64) (empty func()) {
	f.t.Helper()
	filler, err := os.Create(filepath.Join(f.dir, "filler"))
	if err != nil {
		f.t.Fatal(err)
	}
	defer filler.Close()
	if err := syscall.Fallocate(int(filler.Fd()), 0, 0, f.free()-room); err != nil {
		f.t.Fatal(err)
	}
	return func() { os.Remove(filler.Name()) }
}

// refused asks for a session that must fail in a phase, for lack of room.
func (f *fullDisk) refused(task string, remote *gittest.Remote, branch, phase string) {
	f.t.Helper()
	_, err := f.CreateSession(f.t.Context(), berth.SessionRequest{
		TaskID: task, UserID: "user", Repository: remote.URL(), Branch: branch,
	})
	failure, ok := errors.AsType[*berth.StartError](err)
	if !ok || failure.Phase != phase || !strings.Contains(strings.ToLower(failure.Error()), "no space left on device") {
		f.t.Fatalf("got %v, want a *StartError of phase %s that says that there is no space left on device", err, phase)
	}
	f.t.Log(err)
}

func (f *fullDisk) whileCloning() {
	content := make([]byte, 16*mib)
	rand.NewChaCha8([32]byte{}).Read(content) // what nobody can compress
	big := f.git.Create("org/big", gittest.Files(map[string]string{"big": string(content)}))
	empty := f.fill(8 * mib)
	before := f.free()
	f.refused("big", big, "", "fetching")
	waitGone(f.t, f.local)
	if after := f.free(); after < before-mib {
		f.t.Errorf("the clone that failed has left %d KiB", (before-after)>>10)
	}
	holds(f.t, f.local, 0)
	s := f.create("small", f.small.URL(), "")
	sh(f.t, s, "git fsck --full")
	f.end(s)

	empty()
	s = f.create("big", big.URL(), "")
	if s.Info().Start != berth.StartCold {
		f.t.Errorf("with room it starts %s, out of what a failed clone has left", s.Info().Start)
	}
	if got := sh(f.t, s, "git fsck --full; git status --porcelain; wc -c < big"); got != fmt.Sprint(len(content)) {
		f.t.Errorf("with room the checkout is %s", got)
	}
	f.end(s)
}

func (f *fullDisk) whileCheckingOut() {
	const size = 24 * mib
	remote := f.git.Create("org/grows", gittest.Small())
	remote.Commit("big", "big", strings.Repeat("grows\n", size/6)) // small in the mirror
	a := f.create("a", remote.URL(), "")
	cat := a.Command(f.t.Context(), "cat")
	in, inErr := cat.StdinPipe()
	out, outErr := cat.StdoutPipe()
	if err := errors.Join(inErr, outErr, cat.Start()); err != nil {
		f.t.Fatal(err)
	}

	empty := f.fill(8 * mib)
	f.refused("b", remote, "big", "checkout")
	holds(f.t, f.local, 1)
	places, err := filepath.Glob(filepath.Join(f.dir, "volumes", a.Info().Container.Name+"-work", "_data", "*"))
	if err != nil || len(places) != 1 || filepath.Base(places[0]) != a.ID() {
		f.t.Errorf("the places in the container are %v, %v; want that of %s alone", places, err, a.ID())
	}
	if _, err := io.WriteString(in, "still there\n"); err != nil {
		f.t.Error(err)
	}
	if line, err := bufio.NewReader(out).ReadString('\n'); line != "still there\n" {
		f.t.Errorf("a neighbour's command says %q, %v", line, err)
	}
	in.Close()
	if err := cat.Wait(); err != nil {
		f.t.Errorf("a neighbour's command: %v", err)
	}
	sh(f.t, a, "echo x > new.txt; git add new.txt; git commit -q -m 'A change'; git fsck --full")
	c := f.create("c", remote.URL(), "dev")
	if c.Info().Container != a.Info().Container {
		f.t.Errorf("the next task is in %v, not in %v", c.Info().Container, a.Info().Container)
	}

	empty()
	b := f.create("b", remote.URL(), "big")
	if got := sh(f.t, b, "git status --porcelain; wc -c < big"); got != fmt.Sprint(size) {
		f.t.Errorf("with room the checkout is %s", got)
	}
	for _, s := range []*berth.Session{a, b, c} {
		f.end(s)
	}
}

// whileStarting is about a disk on which not one byte is free: what is there can still be used, and be ended.
func (f *fullDisk) whileStarting() {
	other := f.git.Create("org/other", gittest.Small())
	s := f.create("there", f.small.URL(), "")
	empty := f.fill(0)
	f.refused("other", other, "", "starting")
	if left := f.containers(); len(left) != 1 {
		f.t.Errorf("left beside the one that was there: %v", left)
	}
	sh(f.t, s, "git fsck --full")
	f.end(s)
	waitGone(f.t, f.local)
	holds(f.t, f.local, 0)
	empty()
	f.end(f.create("other", other.URL(), ""))
}
