package cache

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"syscall"
)

// Bounds of a layer beside its size.
const (
	maxFiles = 2_000_000
	maxDepth = 200
)

// piece is how many names of a directory are read at once: a directory may hold millions, and the agent's memory is bounded.
const piece = 512

// copyTree copies the directory from below top, and gives the copy to uid. It follows no link out of top. Left out are links that lead
// out of the tree, and all that is no file, directory or link. The owner alone may write to the copy.
func copyTree(to, top, from string, uid int, most int64) (bytes int64, err error) {
	c := copying{uid: uid, left: most, most: "it is larger than Cache.MaxBytes"}
	if err := c.open(to, top, from); err != nil {
		return 0, err
	}
	defer c.close()
	if err := c.dir(".", 0); err != nil {
		return 0, err
	}
	if c.files == 0 {
		return 0, errors.New("nothing was filled: the directory has no file")
	}
	return most - c.left, nil
}

// copying is one copy of a tree.
type copying struct {
	in, out *os.Root
	uid     int
	left    int64 // bytes that it may still have
	seen    int
	files   int
	part    *Part  // says what is left out; nil = nothing is
	most    string // says that left was not enough
}

// open opens the directory from below top, and makes the directory of the copy.
func (c *copying) open(to, top, from string) error {
	home, err := os.OpenRoot(top)
	if err != nil {
		return err
	}
	defer home.Close()
	if c.in, err = home.OpenRoot(from); err != nil {
		return fmt.Errorf("nothing was filled: %w", err)
	}
	if err = os.Mkdir(to, 0o700); err == nil {
		c.out, err = os.OpenRoot(to)
	}
	if err != nil {
		c.in.Close()
	}
	return err
}

func (c *copying) close() {
	c.in.Close()
	c.out.Close()
}

// take counts an entry of a size on disk.
func (c *copying) take(bytes int64) error {
	const block = 4096
	c.left -= (bytes + block - 1) / block * block
	c.seen++
	if c.left < 0 {
		return errors.New(c.most)
	}
	if c.seen > maxFiles {
		return fmt.Errorf("it has more than %d files", maxFiles)
	}
	return nil
}

// dir copies what is in a directory, and then gives the directory its owner and its mode.
func (c *copying) dir(name string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("it has more than %d directories in each other", maxDepth)
	}
	f, err := c.in.OpenFile(name, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if err := c.take(1); err != nil {
		return err
	}
	for {
		entries, err := f.ReadDir(piece)
		for _, e := range entries {
			if err := c.entry(filepath.Join(name, e.Name()), e, depth); err != nil {
				return err
			}
		}
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return err
		}
	}
	mode := info.Mode().Perm()&0o755 | 0o500
	return errors.Join(c.out.Lchown(name, c.uid, c.uid), c.out.Chmod(name, mode), c.out.Chtimes(name, info.ModTime(), info.ModTime()))
}

// entry copies an entry of a directory that lies in depth others.
func (c *copying) entry(at string, e fs.DirEntry, depth int) error {
	switch {
	case c.part.omits(at, e.IsDir()):
		return nil
	case e.IsDir():
		if err := c.out.Mkdir(at, 0o700); err != nil {
			return err
		}
		if err := c.dir(at, depth+1); err != nil {
			return err
		}
		if c.part.prunes(at) {
			_ = c.out.Remove(at) // fails if something is in it
		}
		return nil
	case e.Type().IsRegular():
		return c.file(at)
	case e.Type() == fs.ModeSymlink:
		return c.link(at)
	}
	return nil
}

func (c *copying) file(name string) error {
	in, err := c.in.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer in.Close()
	info, err := in.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return nil
	}
	if err := c.take(max(info.Size(), 1)); err != nil {
		return err
	}
	out, err := c.out.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	c.files++
	_, err = io.CopyN(out, in, info.Size()) // in the kernel, and without a copy where the file system can share blocks
	mode := info.Mode().Perm()&0o755 | 0o400
	return errors.Join(err, out.Chown(c.uid, c.uid), out.Chmod(mode), out.Close(), c.out.Chtimes(name, info.ModTime(), info.ModTime()))
}

// stays reports whether a link in a directory stays in the tree. A target that goes up after it has gone down does not count as
// staying: the way down may be a link to a directory that is less deep.
func stays(dir, target string) bool {
	down := false
	for part := range strings.SplitSeq(target, "/") {
		switch part {
		case "", ".":
		case "..":
			if down {
				return false
			}
		default:
			down = true
		}
	}
	return !filepath.IsAbs(target) && filepath.IsLocal(filepath.Join(dir, target)) && !strings.Contains(target, "\x00")
}

// link copies a link that stays in the tree.
func (c *copying) link(name string) error {
	target, err := c.in.Readlink(name)
	if err != nil {
		return err
	}
	if (c.part == nil || !c.part.Links) && !stays(filepath.Dir(name), target) {
		return nil
	}
	if err := c.take(1); err != nil {
		return err
	}
	return errors.Join(c.out.Symlink(target, name), c.out.Lchown(name, c.uid, c.uid))
}
