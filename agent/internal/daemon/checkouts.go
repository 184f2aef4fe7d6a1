package daemon

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/agent/internal/disk"
	"github.com/berth-go/berth/agent/internal/git"
	"github.com/berth-go/berth/agent/internal/mirror"
	"github.com/berth-go/berth/agent/internal/pause"
	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/room"
	"github.com/berth-go/berth/agent/internal/tree"
	"github.com/berth-go/berth/agent/internal/wire"
)

// checkouts lets sessions share the files of commits. The tree of a commit is made in a room of its own, by a uid that no session has,
// and is given to sessions when nothing of that room runs any more.
type checkouts struct {
	mounter room.Mounter // nil = there is none
	dir     string       // of the sessions
	furnish func(ctx context.Context, w wire.Session, refs *mirror.Refs, target mirror.Target) (*session, error)
	clear   func(ctx context.Context, s *session) error
	image   func(s *session) git.Job // a git with the configuration of the image
	trees   *tree.Store
	log     *slog.Logger

	asking gate // one place, for the call that asks

	mu    sync.Mutex // protects what follows
	known time.Time  // when the answer of mounter was known; the zero value = it is not
	why   string     // no checkout is shared; "" = checkouts are
}

// waitFiles is the number of files from which on a session waits until the tree of its commit is made. A smaller checkout takes less time
// than the room in which the tree is made. Its session gets one of its own, and the tree is made in the background for the next.
const waitFiles = 1000

const noWarden = "the container has no warden that mounts checkouts"

func newCheckouts(d *Daemon) *checkouts {
	c := &checkouts{
		dir: d.SessionsDir, furnish: d.furnish, clear: d.clear, log: d.Log, asking: make(gate, 1),
		image: func(s *session) git.Job { return d.places.Job(s.place, s.UID) },
	}
	c.mounter, _ = d.Rooms.(room.Mounter)
	c.trees = tree.Open(tree.Config{
		Dir: filepath.Join(d.SessionsDir, place.TreesName), Discard: d.places.Trash.Put, Discarded: d.places.Trash.Wait,
		Room: func() (disk.Room, error) { return disk.Of(d.SessionsDir) }, Log: d.Log,
	})
	return c
}

// lookAtDisk is how often the agent looks whether the disk is short.
const lookAtDisk = 500 * time.Millisecond

// run finds out whether checkouts can be shared, so that no session waits for the answer, and takes trees away when the disk is short.
func (c *checkouts) run(ctx context.Context) {
	c.shared(ctx)
	for pause.Sleep(ctx, lookAtDisk) == nil {
		c.trees.Relieve(ctx)
	}
}

const (
	askTime  = 10 * time.Second // bounds the question whether checkouts can be shared: a session waits for it
	askAgain = 10 * time.Minute // after a refusal: the disk may have been full
)

// shared returns why no checkout is shared, or "". It asks the first time.
func (c *checkouts) shared(ctx context.Context) (why string) {
	if c.mounter == nil {
		return noWarden
	}
	if why, known := c.answer(); known {
		return why
	}
	if err := c.asking.enter(ctx); err != nil {
		return err.Error()
	}
	defer c.asking.leave()
	if why, known := c.answer(); known {
		return why
	}
	ctx, cancel := context.WithTimeout(ctx, askTime)
	defer cancel()
	why, err := c.mounter.TryCheckout(ctx, c.dir)
	if err != nil {
		return err.Error() // and it is asked again
	}
	if why != "" {
		c.log.Warn("git writes the files of each checkout", "reason", why)
	}
	c.set(why)
	return why
}

func (c *checkouts) set(why string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.known, c.why = time.Now(), why
}

func (c *checkouts) answer() (why string, known bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.why, !c.known.IsZero() && (c.why == "" || time.Since(c.known) < askAgain)
}

// refuse ends the sharing for a time.
func (c *checkouts) refuse(err error) {
	c.set(err.Error())
	c.log.Error("a checkout could not be mounted: git writes the files of each checkout", "error", err)
}

// over returns the tree for a new session, or nil if git is to write the session's files. With now, it is made however few files it has.
func (c *checkouts) over(ctx context.Context, w wire.Session, refs *mirror.Refs, target mirror.Target, now bool) (*tree.Use, error) {
	if w.UID == room.LayerUID || target.Commit == "" || c.shared(ctx) != "" {
		return nil, nil
	}
	if use := c.trees.Take(target.Commit); use != nil || target.Tree.Files < waitFiles && !now {
		return use, nil
	}
	use, err := c.trees.Wait(ctx, c.commit(w.URL, refs, target))
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil { // the store has logged it
		return nil, nil
	}
	return use, nil
}

// want has the tree for the next session of a target made.
func (c *checkouts) want(w wire.Session, refs *mirror.Refs, target mirror.Target) {
	if why, known := c.answer(); c.mounter != nil && known && why == "" && target.Commit != "" {
		c.trees.Want(c.commit(w.URL, refs, target))
	}
}

// makeTime bounds the making of a tree.
const makeTime = 30 * time.Minute

// commit returns the commit of a target, with what makes its tree. Only what the commit and the image say decides what the files are.
func (c *checkouts) commit(url string, refs *mirror.Refs, target mirror.Target) tree.Commit {
	const block = 4 << 10 // a file takes whole blocks
	size := target.Tree
	return tree.Commit{ID: target.Commit, Bytes: size.Bytes + block*size.Files, Files: size.Files, Make: c.maker(url, refs, target)}
}

func (c *checkouts) maker(url string, refs *mirror.Refs, target mirror.Target) func(ctx context.Context, files, index string) error {
	return func(ctx context.Context, files, index string) (err error) {
		ctx, cancel := context.WithTimeoutCause(ctx, makeTime, fmt.Errorf("it took longer than %v", makeTime))
		defer cancel()
		s, err := c.furnish(ctx, wire.Session{ID: "tree-" + rand.Text(), UID: room.LayerUID, Dir: "tree", URL: url}, refs, target)
		if err != nil {
			return err
		}
		defer func() {
			ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
			defer cancel()
			err = errors.Join(err, c.clear(ctx, s))
		}()
		if err := c.pure(ctx, s); err != nil {
			return err
		}
		if err := s.room.Close(ctx); err != nil { // nothing that git has left behind may change the files any more
			return err
		}
		return take(s.place.Workdir, files, index)
	}
}

// maxIndex bounds the index of a tree: the agent reads it into its memory. One of a million files has 100 MB.
const maxIndex = 256 << 20

// take moves a checkout to files, and its index to index. What git has written was decided by others, so neither may be a link.
func take(checkout, files, index string) error {
	repository := filepath.Join(checkout, ".git")
	written := filepath.Join(repository, "index")
	for _, part := range []struct {
		name string
		mode os.FileMode
	}{{checkout, os.ModeDir}, {repository, os.ModeDir}, {written, 0}} { // from the top down
		if info, err := os.Lstat(part.name); err != nil {
			return err
		} else if info.Mode().Type() != part.mode || part.mode == 0 && info.Size() > maxIndex {
			return fmt.Errorf("%s is not what it is to be", part.name)
		}
	}
	if err := os.Rename(written, index); err != nil {
		return err
	}
	if err := os.Chown(index, 0, 0); err != nil {
		return err
	}
	if err := os.Rename(repository, filepath.Join(filepath.Dir(checkout), "repository")); err != nil {
		return err
	}
	return os.Rename(checkout, files)
}

// pure returns an error if the image configures a filter for checkouts: what it makes of a file may depend on who asks. That of LFS
// writes pointers, for everybody alike.
func (c *checkouts) pure(ctx context.Context, s *session) error {
	job := c.image(s)
	job.Op, job.Args = "config", []string{"config", "--null", "--name-only", "--list"}
	out, err := git.Run(ctx, s.room, job)
	if err != nil {
		return err
	}
	for name := range strings.SplitSeq(string(out), "\x00") {
		filter := strings.HasPrefix(name, "filter.") && (strings.HasSuffix(name, ".smudge") || strings.HasSuffix(name, ".process"))
		if filter && !strings.HasPrefix(name, "filter.lfs.") {
			return fmt.Errorf("the image configures %s, so git writes the files of each checkout", name)
		}
	}
	return nil
}
