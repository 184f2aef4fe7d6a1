package place

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/berth-go/berth/agent/internal/disk"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/room"
)

// checkOut writes the files of HEAD. What the remote has committed decides what git does, so git runs where the session's commands
// will.
func (p *Places) checkOut(ctx context.Context, in git.Starter, pl *Place, uid int) error {
	job := p.Job(pl, uid)
	job.Op = "checkout"
	if uid == room.LayerUID { // the index will be read by tree.Own
		job.Args = []string{"-c", "index.version=2", "-c", "index.sparse=false", "-c", "core.splitIndex=false", "-c", "core.untrackedCache=false"}
	}
	// Workers are processes: for a few hundred files they cost more than they save.
	job.Args = append(job.Args, "-c", "checkout.workers=0", "-c", "checkout.thresholdForParallelism=1000", "read-tree", "-m", "-u", "--no-recurse-submodules", "HEAD")
	_, err := git.Run(ctx, in, job)
	if err == nil && uid != room.LayerUID {
		keepIndex(pl.Workdir, pl.Workdir)
	}
	var failed *git.Error
	if !errors.As(err, &failed) {
		return err
	}
	// Git does not say why it cannot write a file, and makes room again before it ends.
	var most int64
	job.Args = []string{"ls-tree", "-r", "-l", "-z", "HEAD"}
	job.Output = func(out io.Reader) (err error) {
		most, err = largest(out)
		return err
	}
	if _, err := git.Run(ctx, in, job); err == nil {
		if free, full := full(pl.Workdir, most); full {
			failed.Message += fmt.Sprintf("; no space left on device: %d KiB are free", free>>10)
		}
	}
	return failed
}

// Job returns a git in a place, which lacks its Op and its Args.
func (p *Places) Job(pl *Place, uid int) git.Job {
	return git.Job{
		UID: uid, Dir: pl.Workdir, Path: p.Image.SafePath(),
		// Large files stay pointers: what they point to needs a credential.
		Env: append(slices.Clone(pl.Env), "PATH="+p.Image.SafePath(), "GIT_TERMINAL_PROMPT=0", "GIT_LFS_SKIP_SMUDGE=1", "LC_ALL=C"),
	}
}

// fit is fits, after it has freed room if there is none. A checkout of the agent's own frees none for itself.
func (p *Places) fit(ctx context.Context, dir string, t mirror.Tree, uid int) error {
	err := fits(dir, t)
	if err == nil || uid == room.LayerUID {
		return err
	}
	if failed := p.FreeRoom(ctx); failed != nil {
		return errors.Join(err, failed)
	}
	return fits(dir, t)
}

// FreeRoom removes from the disk what no session needs, and waits for the removal of what has been taken away.
func (p *Places) FreeRoom(ctx context.Context) error {
	if p.Shrink != nil {
		if err := p.Shrink(ctx); err != nil {
			return err
		}
	}
	return p.Trash.Wait(ctx)
}

// fits returns an error if a checkout of a tree has no room in a directory.
func fits(dir string, t mirror.Tree) error {
	left, err := disk.Of(dir)
	switch {
	case err != nil || left.Holds(t.Bytes, t.Files):
		return nil
	case t.Bytes > left.Bytes:
		return &git.Error{Op: "checkout", Message: fmt.Sprintf("no space left on device: the files take %d KiB, and %d KiB are free", t.Bytes>>10, left.Bytes>>10)}
	}
	return &git.Error{Op: "checkout", Message: fmt.Sprintf("no space left on device: there are %d files and directories, and %d inodes are free", t.Files, left.Files)}
}

// largest returns the largest size in what git ls-tree -l -z prints.
func largest(out io.Reader) (most int64, err error) {
	err = mirror.ReadEntries(out, func(size, _ int64) error {
		most = max(most, size)
		return nil
	})
	return most, err
}

// full reports whether a file of so many bytes has no room where dir is; a little is needed besides.
func full(dir string, size int64) (free int64, full bool) {
	left, err := disk.Of(dir)
	return left.Bytes, err == nil && !left.Holds(size+128<<10, 1)
}
