package work

import (
	"archive/tar"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/klauspost/compress/zstd"
)

// packTime bounds how long the session's processes are stopped.
const packTime = 5 * time.Minute

// Pack writes the work of the session that it runs in. The session's other processes are stopped while the files are read, into a file
// without a name beside the checkout. index is the one that the checkout began with, and commit its base.
func Pack(checkout, index, commit string, out io.Writer) error {
	spool, err := os.CreateTemp(filepath.Dir(checkout), ".snapshot-")
	if err != nil {
		return err
	}
	defer spool.Close()
	if err := os.Remove(spool.Name()); err != nil {
		return err
	}
	p := &packer{limit: time.Now().Add(packTime), links: make(map[inode]string), seen: make(map[string]bool), buf: make([]byte, 256<<10)}
	if err := p.packStanding(checkout, index, commit, spool); err != nil {
		return err
	}
	if _, err := spool.Seek(0, io.SeekStart); err != nil {
		return err
	}
	head, err := json.Marshal(Head{Version: version, Commit: commit, Files: p.files, Bytes: p.bytes})
	if err != nil {
		return err
	}
	if _, err := out.Write(append(head, '\n')); err != nil {
		return err
	}
	_, err = io.Copy(out, spool)
	return err
}

type inode struct{ dev, ino uint64 }

// A packer packs a checkout.
type packer struct {
	base  *base // nil = everything is packed
	tar   *tar.Writer
	limit time.Time
	links map[inode]string // the first names of files that have more than one
	seen  map[string]bool  // the directories and files that were seen
	files int
	bytes int64
	buf   []byte
}

func (p *packer) packStanding(checkout, index, commit string, out io.Writer) error {
	resume, err := stopOthers()
	if err != nil {
		return err
	}
	defer resume()
	return p.pack(checkout, index, commit, out)
}

func (p *packer) pack(checkout, index, commit string, out io.Writer) error {
	root, err := os.OpenRoot(checkout)
	if err != nil {
		return err
	}
	defer root.Close()
	if commit != "" {
		p.base, _ = readBase(index, idSize(commit)) // without one, everything is packed
	}
	removed, err := p.gone(root)
	if err != nil {
		return err
	}
	z, err := zstd.NewWriter(out, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2))
	if err != nil {
		return err
	}
	defer z.Close()
	p.tar = tar.NewWriter(z)
	text, err := json.Marshal(list{Whole: p.base == nil, Removed: removed})
	if err != nil {
		return err
	}
	if err := p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeReg, Name: listName, Size: int64(len(text)), Format: tar.FormatPAX}); err != nil {
		return err
	}
	if _, err := p.tar.Write(text); err != nil {
		return err
	}
	if err := p.directory(root, ".", 0); err != nil {
		return err
	}
	if err := p.tar.Close(); err != nil {
		return err
	}
	return z.Close()
}

// gone returns what the base has and the checkout has not. A directory stands for all that was in it.
func (p *packer) gone(root *os.Root) (removed [][]byte, err error) {
	if p.base == nil {
		return nil, nil
	}
	missing := make(map[string]bool)
	absent := func(name string) (bool, error) {
		_, err := root.Lstat(name)
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) || err != nil && strings.Contains(err.Error(), "escapes") {
			return true, nil
		}
		return false, err
	}
	dirs := make(map[string]bool) // known: true = it is missing
	for name := range p.base.files {
		topmost, err := topmostGone(name, dirs, absent)
		if err != nil {
			return nil, err
		}
		if topmost != "" {
			missing[topmost] = true
		}
	}
	for name := range missing {
		removed = append(removed, []byte(name))
	}
	slices.SortFunc(removed, bytes.Compare)
	return removed, nil
}

// topmostGone returns the first of the directories above a path, or the path itself, that is not there; "" = all are.
func topmostGone(name string, dirs map[string]bool, absent func(string) (bool, error)) (string, error) {
	for at := 0; ; {
		next := strings.IndexByte(name[at:], '/')
		if next < 0 {
			gone, err := absent(name)
			if gone {
				return name, err
			}
			return "", err
		}
		dir := name[:at+next]
		gone, known := dirs[dir]
		if !known {
			var err error
			if gone, err = absent(dir); err != nil {
				return "", err
			}
			dirs[dir] = gone
		}
		if gone {
			return dir, nil
		}
		at += next + 1
	}
}

const maxDepth = 256

// directory packs what is in a directory.
func (p *packer) directory(root *os.Root, at string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%q is %d directories deep", at, depth)
	}
	if time.Now().After(p.limit) {
		return fmt.Errorf("it took longer than %v", packTime)
	}
	d, err := root.Open(at)
	if err != nil {
		return err
	}
	names, err := d.Readdirnames(-1)
	d.Close()
	if err != nil {
		return err
	}
	slices.Sort(names)
	for _, name := range names {
		name = path.Join(at, name)
		info, err := root.Lstat(name)
		if err != nil {
			return err
		}
		if stale(name) {
			continue
		}
		if err := p.entry(root, name, info, depth); err != nil {
			return err
		}
	}
	return nil
}

// stale reports whether a file is the lock of a git that was stopped in the middle. It belongs to nobody in another session.
func stale(name string) bool {
	below, ok := strings.CutPrefix(name, ".git/")
	return ok && strings.HasSuffix(name, ".lock") && (!strings.Contains(below, "/") || strings.HasPrefix(below, "refs/") || strings.HasPrefix(below, "modules/"))
}

// entry packs one file, unless it is that of the base. Sockets, pipes and devices are left out.
func (p *packer) entry(root *os.Root, name string, info fs.FileInfo, depth int) error {
	st := info.Sys().(*syscall.Stat_t)
	switch mode := info.Mode(); {
	case mode.IsDir():
		if p.base == nil || !p.base.dirs[name] || !p.base.before(st) {
			if err := p.header(&tar.Header{Typeflag: tar.TypeDir, Name: name + "/", Mode: int64(mode.Perm())}, info); err != nil {
				return err
			}
		}
		return p.directory(root, name, depth+1)
	case !mode.IsRegular() && mode&fs.ModeSymlink == 0:
		return nil
	case p.base != nil && p.base.same(name, st):
		return nil
	case mode.IsRegular():
		return p.file(root, name, info)
	}
	target, err := root.Readlink(name)
	if err != nil {
		return err
	}
	return p.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: name, Linkname: target, Mode: 0o777}, info)
}

func (p *packer) file(root *os.Root, name string, info fs.FileInfo) error {
	h := &tar.Header{Typeflag: tar.TypeReg, Name: name, Mode: int64(info.Mode().Perm()), Size: info.Size()}
	if st := info.Sys().(*syscall.Stat_t); st.Nlink > 1 {
		id := inode{uint64(st.Dev), st.Ino}
		if first, ok := p.links[id]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, treeName+first, 0
			return p.header(h, info)
		}
		p.links[id] = name
	}
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if errors.Is(err, fs.ErrPermission) { // its owner may read it after all
		if err := root.Chmod(name, info.Mode().Perm()|0o400); err != nil {
			return err
		}
		defer root.Chmod(name, info.Mode().Perm())
		f, err = root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	}
	if err != nil {
		return err
	}
	defer f.Close()
	if err := p.header(h, info); err != nil {
		return err
	}
	n, err := io.CopyBuffer(struct{ io.Writer }{p.tar}, io.LimitReader(f, h.Size), p.buf)
	if err == nil && n < h.Size {
		err = fmt.Errorf("%q became shorter", name)
	}
	return err
}

func (p *packer) header(h *tar.Header, info fs.FileInfo) error {
	h.Name, h.ModTime, h.Format = treeName+h.Name, info.ModTime(), tar.FormatPAX
	p.files++
	if p.bytes += h.Size; p.bytes > maxPack {
		return fmt.Errorf("it has more than %d bytes", int64(maxPack))
	}
	return p.tar.WriteHeader(h)
}
