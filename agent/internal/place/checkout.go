package place

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"syscall"

	"github.com/berth-go/berth/agent/internal/git"
)

// checkOut writes the files of HEAD.
func (p *Places) checkOut(ctx context.Context, pl *Place, uid int) error {
	job := git.Job{
		Op: "checkout", UID: uid, Dir: pl.Workdir, Path: p.Path,
		// Workers are processes: for a few hundred files they cost more than they save.
		Args: []string{"-c", "checkout.workers=0", "-c", "checkout.thresholdForParallelism=1000", "read-tree", "-m", "-u", "--no-recurse-submodules", "HEAD"},
		// Large files stay pointers: what they point to needs a credential.
		Env: append(pl.Env, "GIT_TERMINAL_PROMPT=0", "GIT_LFS_SKIP_SMUDGE=1", "LC_ALL=C"),
	}
	_, err := git.Run(ctx, p.Table, job)
	var failed *git.Error
	if !errors.As(err, &failed) {
		return err
	}
	// Git does not say why it cannot write a file, and makes room again before it ends.
	job.Args = []string{"ls-tree", "-r", "-l", "HEAD"}
	if sizes, err := git.Run(ctx, p.Table, job); err == nil {
		if free, full := full(pl.Workdir, largest(string(sizes))); full {
			failed.Message += fmt.Sprintf("\nno space left on device: %d KiB are free", free>>10)
		}
	}
	return failed
}

// largest returns the largest size in what git ls-tree -l prints: mode, type, object, size; then a tab and the name.
func largest(tree string) (most int64) {
	for line := range strings.Lines(tree) {
		entry, _, _ := strings.Cut(line, "\t")
		if fields := strings.Fields(entry); len(fields) == 4 {
			n, _ := strconv.ParseInt(fields[3], 10, 64) // "-" for a submodule
			most = max(most, n)
		}
	}
	return most
}

// full reports whether a file of so many bytes has no room where dir is; a little is needed besides.
func full(dir string, size int64) (free int64, full bool) {
	var st syscall.Statfs_t
	if syscall.Statfs(dir, &st) != nil {
		return 0, false
	}
	free = int64(st.Bavail) * st.Bsize
	return free, free < size+128<<10 || st.Files > 0 && st.Ffree == 0
}
