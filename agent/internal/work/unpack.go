package work

import (
	"archive/tar"
	"bufio"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"
	"time"

	"github.com/klauspost/compress/zstd"
)

const (
	maxWindow  = 8 << 20  // of a stream, which bounds the memory that it takes
	maxList    = 64 << 20 // bytes of the names that are gone
	maxEntries = 4_000_000
	maxTrailer = 64 << 10 // bytes after the end of a tar
)

// errUnsafe says that a stream is not one of Pack.
var errUnsafe = errors.New("the snapshot is refused")

// freshName is where the repository that the session was given lies meanwhile.
const freshName = ".git-of-this-session"

// Unpack makes the checkout that it runs beside what a stream says. The checkout is a fresh one of the stream's base. git's programs are
// looked up in PATH.
func Unpack(checkout string, in io.Reader) error {
	buffered := bufio.NewReaderSize(in, 64<<10)
	head, err := ReadHead(buffered)
	if err != nil {
		return err
	}
	root, err := os.OpenRoot(checkout)
	if err != nil {
		return err
	}
	defer root.Close()
	if err := root.Rename(".git", freshName); err != nil {
		return err
	}
	z, err := zstd.NewReader(buffered, zstd.WithDecoderMaxWindow(maxWindow), zstd.WithDecoderConcurrency(2), zstd.WithDecoderLowmem(true))
	if err != nil {
		return err
	}
	defer z.Close()
	u := &unpacker{root: root, in: tar.NewReader(z), made: make(map[string]bool), buf: make([]byte, 256<<10)}
	if err := u.unpack(); err != nil {
		return err
	}
	if n, err := io.Copy(io.Discard, io.LimitReader(z, maxTrailer)); err != nil || n == maxTrailer {
		return fmt.Errorf("%w: something follows its end", errUnsafe)
	}
	if _, err := buffered.ReadByte(); err != io.EOF { // the end of the stream, before which nothing of it is verified
		return fmt.Errorf("%w: something follows its end", errUnsafe)
	}
	g := repository{root: root, dir: checkout, idSize: idSize(head.Commit)}
	if err := g.join(); err != nil {
		return err
	}
	return root.RemoveAll(freshName)
}

type unpacker struct {
	root    *os.Root
	in      *tar.Reader
	made    map[string]bool // files that hard links may follow
	dirs    []directory
	entries int
	bytes   int64
	buf     []byte
}

// A directory gets its mode and its time when all below it is there.
type directory struct {
	name string
	mode fs.FileMode
	time time.Time
}

func (u *unpacker) unpack() error {
	if err := u.list(); err != nil {
		return err
	}
	for {
		h, err := u.in.Next()
		if err == io.EOF {
			break
		}
		if err != nil {
			return err
		}
		if err := u.entry(h); err != nil {
			return fmt.Errorf("%.200q: %w", h.Name, err)
		}
	}
	for i := len(u.dirs) - 1; i >= 0; i-- {
		d := u.dirs[i]
		if err := errors.Join(u.root.Chtimes(d.name, d.time, d.time), u.root.Chmod(d.name, d.mode)); err != nil {
			return err
		}
	}
	return nil
}

// list removes what is gone.
func (u *unpacker) list() error {
	h, err := u.in.Next()
	if err != nil {
		return err
	}
	if h.Name != listName || h.Typeflag != tar.TypeReg || h.Size > maxList {
		return fmt.Errorf("%w: it does not begin with a list", errUnsafe)
	}
	text, err := io.ReadAll(u.in)
	if err != nil {
		return err
	}
	var l list
	if err := json.Unmarshal(text, &l); err != nil {
		return fmt.Errorf("%w: %w", errUnsafe, err)
	}
	if l.Whole {
		return u.clear()
	}
	for _, name := range l.Removed {
		if !valid(string(name)) {
			return fmt.Errorf("%w: %.200q", errUnsafe, name)
		}
		if err := u.root.RemoveAll(string(name)); err != nil {
			return err
		}
	}
	return nil
}

// clear removes all files, but for the repository that waits.
func (u *unpacker) clear() error {
	d, err := u.root.Open(".")
	if err != nil {
		return err
	}
	defer d.Close()
	names, err := d.Readdirnames(-1)
	if err != nil {
		return err
	}
	for _, name := range names {
		if name == freshName {
			continue
		}
		if err := u.root.RemoveAll(name); err != nil {
			return err
		}
	}
	return nil
}

// valid reports whether a name is one of a file in the checkout.
func valid(name string) bool {
	if name == "" || path.IsAbs(name) || path.Clean(name) != name || strings.ContainsRune(name, 0) {
		return false
	}
	first, _, _ := strings.Cut(name, "/")
	return first != "." && first != ".." && first != freshName
}

// entry makes one file. What has its name is removed, and not written through.
func (u *unpacker) entry(h *tar.Header) error {
	name, ok := strings.CutPrefix(h.Name, treeName)
	name = strings.TrimSuffix(name, "/")
	u.entries++
	u.bytes += h.Size
	if !ok || !valid(name) || u.entries > maxEntries || u.bytes > maxPack {
		return errUnsafe
	}
	if dir := path.Dir(name); dir != "." {
		if err := u.root.MkdirAll(dir, 0o755); err != nil {
			return err
		}
	}
	info, err := u.root.Lstat(name)
	switch {
	case errors.Is(err, fs.ErrNotExist):
	case err != nil:
		return err
	case h.Typeflag == tar.TypeDir && info.IsDir():
		u.dirs = append(u.dirs, directory{name, fs.FileMode(h.Mode).Perm(), h.ModTime})
		return u.root.Chmod(name, 0o700)
	default:
		if err := u.root.RemoveAll(name); err != nil {
			return err
		}
	}
	switch h.Typeflag {
	case tar.TypeDir:
		u.dirs = append(u.dirs, directory{name, fs.FileMode(h.Mode).Perm(), h.ModTime})
		return u.root.Mkdir(name, 0o700)
	case tar.TypeReg:
		return u.file(name, h)
	case tar.TypeSymlink:
		return u.root.Symlink(h.Linkname, name)
	case tar.TypeLink:
		first := strings.TrimPrefix(h.Linkname, treeName)
		if !u.made[first] {
			return errUnsafe
		}
		return u.root.Link(first, name)
	}
	return errUnsafe
}

func (u *unpacker) file(name string, h *tar.Header) error {
	f, err := u.root.OpenFile(name, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return err
	}
	_, err = io.CopyBuffer(struct{ io.Writer }{f}, struct{ io.Reader }{u.in}, u.buf)
	err = errors.Join(err, f.Chmod(fs.FileMode(h.Mode).Perm()), f.Close())
	if err == nil {
		err = u.root.Chtimes(name, h.ModTime, h.ModTime)
	}
	u.made[name] = true
	return err
}
