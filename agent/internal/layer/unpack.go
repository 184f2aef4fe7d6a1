package layer

import (
	"archive/tar"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"syscall"
	"time"
)

// Options says how a stream is unpacked. The zero Options has the defaults.
type Options struct {
	Limits Limits
	Owner  *Owner // of everything. nil = the process's own
	// UserXattr marks opaque directories as a mount with the option userxattr wants it, for which a process needs no privilege.
	UserXattr bool
	// Plain refuses what an overlay keeps for itself, and extended attributes. Modes are those that the owner needs, and no others may write.
	Plain bool
}

// Owner owns files.
type Owner struct{ UID, GID int }

// Unpack makes a new directory of a stream of Pack. It reads the stream to its end, unpacks it into a directory beside dir, and renames that
// when the end has come without an error. So a stream that verifies itself at its end, like that of an orchestrator.SnapshotStore, is
// verified before dir is there. If Unpack fails, nothing is left. fs.ErrExist: there is a dir. ErrUnsafe, ErrTooLarge: the stream is refused.
// Nothing is flushed to the disk: after the machine has lost power, dir may have anything in it.
func Unpack(ctx context.Context, dir string, r io.Reader, o Options) (Totals, error) {
	z, err := decompress(r)
	if err != nil {
		return Totals{}, fmt.Errorf("unpack %s: %w", dir, err)
	}
	defer z.Close()
	totals, err := unpackAside(ctx, dir, o, func(into int) (Totals, error) {
		totals, err := unpack(ctx, into, z, o)
		if err != nil {
			return totals, err
		}
		if n, err := r.Read(make([]byte, 1)); n > 0 || !errors.Is(err, io.EOF) { // the end, which verifies
			return totals, fmt.Errorf("after the last entry: %w", errors.Join(err, ErrUnsafe))
		}
		return totals, nil
	})
	if err != nil {
		return totals, fmt.Errorf("unpack %s: %w", dir, err)
	}
	return totals, nil
}

// unpackAside makes dir whole or not at all.
func unpackAside(ctx context.Context, dir string, o Options, fill func(into int) (Totals, error)) (totals Totals, err error) {
	if _, err := os.Lstat(dir); err == nil {
		return totals, fs.ErrExist
	}
	aside, err := os.MkdirTemp(filepath.Dir(dir), ".unpack-*") // 0700: nobody else changes it meanwhile
	if err != nil {
		return totals, err
	}
	defer func() {
		if err != nil {
			err = errors.Join(err, removeAll(aside))
		}
	}()
	top, err := syscall.Open(aside, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return totals, err
	}
	defer syscall.Close(top)
	if totals, err = fill(top); err != nil {
		return totals, err
	}
	if ctx.Err() != nil {
		return totals, context.Cause(ctx)
	}
	if _, err := os.Lstat(dir); err == nil { // a rename would replace an empty one
		return totals, fs.ErrExist
	}
	return totals, os.Rename(aside, dir)
}

// removeAll removes a tree, also directories that their owner may not write to.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

// unpack makes the files of a tar in an open directory.
func unpack(ctx context.Context, top int, r io.Reader, o Options) (Totals, error) {
	limits := o.Limits.withDefaults()
	raw := &capped{from: &bounded{ctx, r}, left: limits.Bytes + int64(limits.Entries)*overhead + 1<<20}
	u := &unpacker{ctx: ctx, limits: limits, options: o, linked: make(map[string]bool), buf: make([]byte, 256<<10), top: top}
	defer u.close()
	for entries := tar.NewReader(raw); ; {
		h, err := entries.Next()
		if errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			return u.totals, streamError(err)
		}
		if err := u.entry(h, entries); err != nil {
			return u.totals, fmt.Errorf("%.200q: %w", h.Name, err)
		}
	}
	if len(u.stack) == 0 {
		return u.totals, fmt.Errorf("%w: it has no directory", ErrUnsafe)
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(raw, maxTrailer)); err != nil {
		return u.totals, err
	} else if n == maxTrailer {
		return u.totals, fmt.Errorf("%w: after the last entry", ErrTooLarge)
	}
	return u.totals, u.leave("")
}

// maxTrailer bounds what follows the end of a tar, which some programs fill up to 10 KiB.
const maxTrailer = 64 << 10

// streamError tells a stream that is no tar from one that cannot be read.
func streamError(err error) error {
	if errors.Is(err, tar.ErrHeader) || errors.Is(err, tar.ErrFieldTooLong) || errors.Is(err, io.ErrUnexpectedEOF) {
		return fmt.Errorf("%w: %w", ErrUnsafe, err)
	}
	return err
}

// capped is a reader that fails where it would give more bytes than it may.
type capped struct {
	from io.Reader
	left int64
}

func (c *capped) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, fmt.Errorf("%w: the stream goes on", ErrTooLarge)
	}
	n, err := c.from.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	return n, err
}

// level is a directory that is being filled.
type level struct {
	path string // in the tree; "." is the tree itself
	fd   int
	mode uint32
	time time.Time
}

type unpacker struct {
	ctx     context.Context
	limits  Limits
	options Options
	totals  Totals
	linked  map[string]bool // the files of which further links may follow
	buf     []byte
	top     int     // the directory that becomes the tree; the caller closes it
	stack   []level // from the tree itself to the directory in which entries are made now
}

func (u *unpacker) close() {
	for _, l := range u.stack {
		if l.fd != u.top {
			syscall.Close(l.fd)
		}
	}
}

// leave closes the directories that an entry in dir is not in; "" closes all. Only now do they get their modes and times.
func (u *unpacker) leave(dir string) error {
	for len(u.stack) > 0 {
		l := u.stack[len(u.stack)-1]
		if l.path == dir {
			return nil
		}
		if err := errors.Join(syscall.Fchmod(l.fd, l.mode), setTimes(l.fd, "", l.time)); err != nil {
			return err
		}
		u.stack = u.stack[:len(u.stack)-1]
		if l.fd != u.top {
			syscall.Close(l.fd)
		}
	}
	if dir != "" {
		return fmt.Errorf("%w: its directory does not come before it", ErrUnsafe)
	}
	return nil
}

// entry makes one file.
func (u *unpacker) entry(h *tar.Header, content io.Reader) error {
	if u.ctx.Err() != nil {
		return context.Cause(u.ctx)
	}
	name := strings.TrimSuffix(h.Name, "/")
	if u.options.Plain {
		if err := plain(h, name); err != nil {
			return err
		}
	}
	if err := u.totals.account(u.limits, h.Size); err != nil {
		return err
	}
	attributes, err := check(h, name)
	if err != nil {
		return err
	}
	if name == "." {
		if h.Typeflag != tar.TypeDir || len(u.stack) > 0 {
			return fmt.Errorf("%w: it comes twice", ErrUnsafe)
		}
		u.stack = append(u.stack, level{path: ".", fd: u.top})
		return u.directory(h, attributes)
	}
	if err := u.leave(path.Dir(name)); err != nil {
		return err
	}
	dir, base := u.stack[len(u.stack)-1].fd, path.Base(name)
	switch h.Typeflag {
	case tar.TypeDir:
		if err := u.enter(name, dir, base); err != nil {
			return err
		}
		return u.directory(h, attributes)
	case tar.TypeSymlink:
		return u.symlink(h, dir, base)
	case tar.TypeLink:
		if !u.linked[h.Linkname] {
			return fmt.Errorf("%w: a hard link to %.200q, which is no earlier file with links", ErrUnsafe, h.Linkname)
		}
		return made(linkat(u.top, h.Linkname, dir, base)) // all on this way are directories that this unpacker has made
	}
	if removed, ok := strings.CutPrefix(base, whiteout); ok {
		return u.whiteout(h, dir, base, removed)
	}
	if h.PAXRecords[linkRecord] != "" {
		u.linked[name] = true
	}
	return u.file(h, dir, base, attributes, content)
}

// enter makes a directory, and puts it on the stack.
func (u *unpacker) enter(name string, dir int, base string) error {
	if len(u.stack) > maxDepth {
		return fmt.Errorf("%w: it is %d directories deep", ErrTooLarge, len(u.stack))
	}
	if err := syscall.Mkdirat(dir, base, 0o700); err != nil {
		return made(err)
	}
	fd, err := syscall.Openat(dir, base, syscall.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0)
	if err != nil {
		return err
	}
	u.stack = append(u.stack, level{path: name, fd: fd})
	return nil
}

func (u *unpacker) symlink(h *tar.Header, dir int, base string) error {
	if err := symlinkat(h.Linkname, dir, base); err != nil {
		return made(err)
	}
	if owner := u.options.Owner; owner != nil {
		if err := lchownat(dir, base, owner.UID, owner.GID); err != nil {
			return err
		}
	}
	return setTimes(dir, base, h.ModTime)
}

// made explains why something was not made: two entries of one name are no tree.
func made(err error) error {
	if errors.Is(err, syscall.EEXIST) {
		return fmt.Errorf("%w: it comes twice: %w", ErrUnsafe, err)
	}
	return err
}

// directory gives the directory on top of the stack its owner, its attributes and, later, its mode and time.
func (u *unpacker) directory(h *tar.Header, attributes map[string]string) error {
	l := &u.stack[len(u.stack)-1]
	l.mode, l.time = uint32(h.Mode&(0o777|syscall.S_ISGID|syscall.S_ISVTX)), h.ModTime
	if place, ok := h.PAXRecords[redirRecord]; ok {
		if u.options.UserXattr {
			return fmt.Errorf("%w: a mount with userxattr has no redirects", ErrUnsupported)
		}
		if err := setXattr(l.fd, overlayXattrs[0]+"redirect", place); err != nil {
			return fmt.Errorf("set a redirect: %w", err)
		}
	}
	return u.own(l.fd, attributes)
}

// own gives an open file its owner and its attributes.
func (u *unpacker) own(fd int, attributes map[string]string) error {
	if owner := u.options.Owner; owner != nil {
		if err := syscall.Fchown(fd, owner.UID, owner.GID); err != nil {
			return err
		}
	}
	for name, value := range attributes {
		if err := setXattr(fd, name, value); err != nil {
			return fmt.Errorf("set the attribute %q: %w", name, err)
		}
	}
	return nil
}

// whiteout makes what an overlay keeps for itself.
func (u *unpacker) whiteout(h *tar.Header, dir int, base, removed string) error {
	switch {
	case h.Size != 0:
		return fmt.Errorf("%w: a whiteout has no content", ErrUnsafe)
	case base == opaque && u.options.UserXattr:
		return setXattr(dir, overlayXattrs[1]+"opaque", "y")
	case base == opaque:
		return setXattr(dir, overlayXattrs[0]+"opaque", "y")
	case removed == "" || removed == "." || removed == ".." || strings.HasPrefix(removed, whiteout):
		return fmt.Errorf("%w: a whiteout of no name", ErrUnsafe)
	}
	return made(syscall.Mknodat(dir, removed, syscall.S_IFCHR, 0))
}

// file makes a regular file.
func (u *unpacker) file(h *tar.Header, dir int, base string, attributes map[string]string, content io.Reader) error {
	fd, err := syscall.Openat(dir, base, syscall.O_WRONLY|syscall.O_CREAT|syscall.O_EXCL|syscall.O_NOFOLLOW|syscall.O_CLOEXEC, 0o600)
	if err != nil {
		return made(err)
	}
	defer syscall.Close(fd)
	n, err := io.CopyBuffer(descriptor(fd), content, u.buf)
	if err != nil {
		return streamError(err)
	}
	if n != h.Size {
		return fmt.Errorf("%w: it has %d bytes, not %d", ErrUnsafe, n, h.Size)
	}
	if err := u.own(fd, attributes); err != nil {
		return err
	}
	return errors.Join(syscall.Fchmod(fd, uint32(h.Mode&0o777)), setTimes(fd, "", h.ModTime))
}

// descriptor writes to an open file.
type descriptor int

func (d descriptor) Write(p []byte) (n int, err error) {
	for n < len(p) {
		m, err := syscall.Write(int(d), p[n:])
		if errors.Is(err, syscall.EINTR) {
			continue
		} else if err != nil {
			return n, err
		}
		n += m
	}
	return n, nil
}
