package place

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"

	"github.com/berth-go/berth/internal/test/need"
)

// measured returns what the test's own uid has below a directory.
func measured(t *testing.T, dir string) (Usage, *Measuring) {
	t.Helper()
	m := &Measuring{}
	if err := m.Measure(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if len(m.levels) > 0 {
		t.Errorf("%d directories are left open", len(m.levels))
	}
	return m.Usage[os.Getuid()], m
}

func write(t *testing.T, name string, size int) {
	t.Helper()
	if err := os.WriteFile(name, make([]byte, size), 0o600); err != nil {
		t.Fatal(err)
	}
}

func TestMeasureCountsWhatIsOnTheDisk(t *testing.T) {
	dir := t.TempDir()
	empty, _ := measured(t, dir)
	if empty.Files != 1 {
		t.Errorf("an empty directory has %v files", empty.Files)
	}
	write(t, filepath.Join(dir, "a"), 1<<20)
	sparse, err := os.Create(filepath.Join(dir, "sparse"))
	if err != nil {
		t.Fatal(err)
	}
	defer sparse.Close()
	if err := sparse.Truncate(1 << 40); err != nil {
		t.Fatal(err)
	}
	for i := range 9 {
		if err := os.Link(filepath.Join(dir, "a"), filepath.Join(dir, fmt.Sprint("link", i))); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.Symlink("/", filepath.Join(dir, "root")); err != nil {
		t.Fatal(err)
	}
	got, m := measured(t, dir)
	if got.Files < 3.99 || got.Files > 4.01 {
		t.Errorf("a directory, a file of ten links, a sparse one and a symbolic link are %v files", got.Files)
	}
	if n := got.Bytes - empty.Bytes; n < 1<<20 || n > 1<<20+64<<10 {
		t.Errorf("1 MiB with ten links and a hole take %v bytes", n)
	}
	if m.Cut || m.Entries != 12 {
		t.Errorf("the walk saw %d entries, cut: %v", m.Entries, m.Cut)
	}
	if got, _ := measured(t, filepath.Join(dir, "absent")); got != (Usage{}) {
		t.Errorf("an absent directory has %v", got)
	}
}

func TestMeasureTellsOwnersApart(t *testing.T) {
	need.Root(t) // to give files and ports to other uids
	dir := t.TempDir()
	write(t, filepath.Join(dir, "other"), 1<<20)
	if err := os.Chown(filepath.Join(dir, "other"), 12345, 12345); err != nil {
		t.Fatal(err)
	}
	_, m := measured(t, dir)
	if got := m.Usage[12345]; got.Files != 1 || got.Bytes < 1<<20 {
		t.Errorf("the owner of the file has %+v", got)
	}
}

// deep makes nested directories, and a file in the last one. Their path is too long to be used at once.
func deep(t *testing.T, dir string, levels int) {
	t.Helper()
	fd, err := openTop(dir)
	for i := 0; err == nil && i < levels; i++ {
		err = syscall.Mkdirat(fd, "d", 0o700)
		child, openErr := openBelow(fd, "d")
		syscall.Close(fd)
		fd = child
		if err == nil {
			err = openErr
		}
	}
	if err == nil {
		var file int
		if file, err = syscall.Openat(fd, "last", syscall.O_CREAT|syscall.O_WRONLY, 0o600); err == nil {
			_, err = syscall.Write(file, make([]byte, 1<<20))
			syscall.Close(file)
		}
	}
	syscall.Close(fd)
	if err != nil {
		t.Fatal(err)
	}
}

func TestMeasureGoesDeep(t *testing.T) {
	dir, err := os.MkdirTemp("", "")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := removeAll(filepath.Dir(dir), filepath.Base(dir), nil); err != nil {
			t.Error(err)
		}
	})
	const levels = 1500
	deep(t, dir, levels)
	write(t, filepath.Join(dir, "z"), 1) // found after the way back from the depth, or before
	got, m := measured(t, dir)
	if m.Cut || got.Files != levels+3 || got.Bytes < 1<<20 {
		t.Errorf("%d levels: %+v, cut: %v", levels, got, m.Cut)
	}
}

func TestMeasureStopsWhenToldTo(t *testing.T) {
	dir := t.TempDir()
	for i := range 4 * stepEntries {
		write(t, filepath.Join(dir, fmt.Sprint(i)), 0)
	}
	m := &Measuring{Step: func() bool { return false }}
	if err := m.Measure(t.Context(), dir); err != nil || m.Entries != stepEntries {
		t.Errorf("it stopped after %d entries: %v", m.Entries, err)
	}
}

// TestMeasureFindsWhatIsRenamed has directories that are renamed without pause. No walk misses what is in them, and none is held up.
func TestMeasureFindsWhatIsRenamed(t *testing.T) {
	dir := t.TempDir()
	const dirs = 40
	for i := range dirs {
		name := filepath.Join(dir, fmt.Sprint("a", i))
		if err := os.Mkdir(name, 0o700); err != nil {
			t.Fatal(err)
		}
		write(t, filepath.Join(name, "file"), 100<<10)
	}
	stop := make(chan struct{})
	var moving sync.WaitGroup
	moving.Go(func() {
		for from, to := "a", "b"; ; from, to = to, from {
			for i := range dirs {
				os.Rename(filepath.Join(dir, fmt.Sprint(from, i)), filepath.Join(dir, fmt.Sprint(to, i)))
			}
			select {
			case <-stop:
				return
			default:
			}
		}
	})
	defer moving.Wait()
	defer close(stop)
	most := Usage{}
	for range 20 {
		got, _ := measured(t, dir)
		most.Files = max(most.Files, got.Files)
	}
	if most.Files < dirs { // half of them would be a walk that is misled
		t.Errorf("the best of 20 walks found %v of %d files and directories", most.Files, 2*dirs+1)
	}
}

// TestMeasureSurvivesMovesInTheDepth moves a directory that is too deep to be held open, while the walk is below it.
func TestMeasureSurvivesMovesInTheDepth(t *testing.T) {
	dir := t.TempDir()
	const levels = keptLevels + 100
	deep(t, dir, levels)
	half := filepath.Join(dir, strings.Repeat("d/", keptLevels+50))
	m := &Measuring{}
	moved := false
	for i := range stepEntries { // below half: the step comes there
		write(t, filepath.Join(half, strings.Repeat("d/", 49), fmt.Sprint("f", i)), 0)
	}
	m.Step = func() bool {
		if !moved {
			moved = true
			if err := os.Rename(filepath.Join(half, "d"), filepath.Join(dir, "elsewhere")); err != nil {
				t.Error(err)
			}
		}
		return true
	}
	write(t, filepath.Join(dir, "z"), 0)
	if err := m.Measure(t.Context(), dir); err != nil || !moved {
		t.Fatalf("moved: %v, error: %v", moved, err)
	}
	if !m.Cut {
		t.Error("the walk does not know that it was cut")
	}
	if again, m := measured(t, dir); m.Cut || again.Files != levels+stepEntries+3 {
		t.Errorf("afterwards there are %v files, cut: %v", again.Files, m.Cut)
	}
}
