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
	"slices"
	"strings"
	"syscall"
)

// Pack writes the tree of a directory to w. Nothing in the tree is followed out of it. The tree should stand still: a file that becomes
// shorter or is replaced while it is packed is ErrChanged, and one that grows is packed as it was. If Pack fails, what it has written is no
// whole stream.
func Pack(ctx context.Context, w io.Writer, dir string, limits Limits) (Totals, error) {
	z, err := compress(w)
	if err != nil {
		return Totals{}, fmt.Errorf("pack %s: %w", dir, err)
	}
	totals, err := pack(ctx, z, dir, limits)
	if err != nil {
		z.Reset(nil) // lets its goroutines end, and writes nothing more
		return totals, fmt.Errorf("pack %s: %w", dir, err)
	}
	if err := z.Close(); err != nil {
		return totals, fmt.Errorf("pack %s: %w", dir, err)
	}
	return totals, nil
}

// pack writes a tar.
func pack(ctx context.Context, w io.Writer, dir string, limits Limits) (Totals, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return Totals{}, err
	}
	defer root.Close()
	p := &packer{
		ctx: ctx, tar: tar.NewWriter(w), limits: limits.withDefaults(),
		links: make(map[inode]string), buf: make([]byte, 256<<10), attributes: make([]byte, maxXattr),
	}
	if err := p.directory(root, ".", 0); err != nil {
		return p.totals, err
	}
	return p.totals, p.tar.Close()
}

type inode struct{ dev, ino uint64 }

type packer struct {
	ctx        context.Context
	tar        *tar.Writer
	limits     Limits
	totals     Totals
	links      map[inode]string // the first names of files that have more than one
	buf        []byte
	attributes []byte
}

// directory packs an open directory and everything below it.
func (p *packer) directory(root *os.Root, at string, depth int) error {
	if depth > maxDepth {
		return fmt.Errorf("%w: %s: it is %d directories deep", ErrTooLarge, at, depth)
	}
	names, err := p.enter(root, at)
	if err != nil {
		return err
	}
	for _, name := range names {
		if p.ctx.Err() != nil {
			return context.Cause(p.ctx)
		}
		if err := p.entry(root, name, path.Join(at, name), depth); err != nil {
			return err
		}
	}
	return nil
}

// enter writes the header of a directory, and returns the names in it.
func (p *packer) enter(root *os.Root, at string) ([]string, error) {
	d, err := root.Open(".")
	if err != nil {
		return nil, err
	}
	defer d.Close()
	info, err := d.Stat()
	if err != nil {
		return nil, err
	}
	attributes, err := xattrs(int(d.Fd()), p.attributes)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", at, err)
	}
	own, err := p.overlay(attributes, at, true)
	if err != nil {
		return nil, err
	}
	h := &tar.Header{Typeflag: tar.TypeDir, Name: at + "/", Mode: modeOf(info)}
	if place, ok := own["redirect"]; ok {
		h.PAXRecords = map[string]string{redirRecord: place}
	}
	if err := p.header(h, info, attributes); err != nil {
		return nil, err
	}
	if own["opaque"] == "y" {
		if err := p.header(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(at, opaque)}, info, nil); err != nil {
			return nil, err
		}
	}
	names, err := d.Readdirnames(p.limits.Entries - p.totals.Entries + 1) // no more than can be packed
	if err != nil && !errors.Is(err, io.EOF) {
		return nil, err
	}
	if len(names) > p.limits.Entries-p.totals.Entries {
		return nil, fmt.Errorf("%w: %s: there are more than %d files", ErrTooLarge, at, p.limits.Entries)
	}
	slices.Sort(names)
	return names, nil
}

// entry packs one name of a directory.
func (p *packer) entry(root *os.Root, name, at string, depth int) error {
	info, err := root.Lstat(name)
	if errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%w: %s has gone", ErrChanged, at)
	} else if err != nil {
		return err
	}
	if strings.HasPrefix(name, whiteout) {
		return fmt.Errorf("%w: %s: its name begins with %q, which marks what an overlay has removed", ErrUnsupported, at, whiteout)
	}
	switch mode := info.Mode(); {
	case mode.IsRegular():
		return p.file(root, name, at, info)
	case mode.IsDir():
		below, err := root.OpenRoot(name)
		if err != nil {
			return err
		}
		defer below.Close()
		if opened, err := below.Stat("."); err != nil || !os.SameFile(opened, info) {
			return fmt.Errorf("%w: %s was replaced", ErrChanged, at)
		}
		return p.directory(below, at, depth+1)
	case mode&fs.ModeSymlink != 0:
		target, err := root.Readlink(name)
		if err != nil {
			return err
		}
		return p.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: at, Linkname: target, Mode: 0o777}, info, nil)
	case mode&fs.ModeCharDevice != 0 && info.Sys().(*syscall.Stat_t).Rdev == 0:
		return p.whiteout(at, info)
	}
	p.totals.Skipped++
	return nil
}

func (p *packer) whiteout(at string, info fs.FileInfo) error {
	return p.header(&tar.Header{Typeflag: tar.TypeReg, Name: path.Join(path.Dir(at), whiteout+path.Base(at))}, info, nil)
}

// file packs a regular file.
func (p *packer) file(root *os.Root, name, at string, seen fs.FileInfo) error {
	f, err := root.OpenFile(name, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !os.SameFile(info, seen) {
		return fmt.Errorf("%w: %s was replaced", ErrChanged, at)
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: at, Mode: modeOf(info), Size: info.Size()}
	st := info.Sys().(*syscall.Stat_t)
	if id := (inode{uint64(st.Dev), st.Ino}); st.Nlink > 1 {
		if first, ok := p.links[id]; ok {
			h.Typeflag, h.Linkname, h.Size = tar.TypeLink, first, 0
			return p.header(h, info, nil)
		}
		p.links[id] = at
		h.PAXRecords = map[string]string{linkRecord: "1"}
	}
	attributes, err := xattrs(int(f.Fd()), p.attributes)
	if err != nil {
		return fmt.Errorf("%s: %w", at, err)
	}
	own, err := p.overlay(attributes, at, false)
	if err != nil {
		return err
	}
	if _, ok := own["whiteout"]; ok && info.Size() == 0 {
		return p.whiteout(at, info)
	}
	if err := p.header(h, info, attributes); err != nil {
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{p.tar}, &bounded{p.ctx, io.LimitReader(f, h.Size)}, p.buf)
	if err == nil && n < h.Size {
		return fmt.Errorf("%w: %s became shorter", ErrChanged, at)
	}
	return err
}

// header writes the header of an entry.
func (p *packer) header(h *tar.Header, info fs.FileInfo, attributes map[string]string) error {
	if err := p.totals.account(p.limits, h.Size); err != nil {
		return fmt.Errorf("%w: %s: more than %d files or %d bytes", err, h.Name, p.limits.Entries, p.limits.Bytes)
	}
	if len(h.Name) > maxPath {
		return fmt.Errorf("%w: a path of %d bytes: %.100s", ErrTooLarge, len(h.Name), h.Name)
	}
	h.ModTime, h.Format = info.ModTime(), tar.FormatPAX
	for name, value := range attributes {
		if h.PAXRecords == nil {
			h.PAXRecords = make(map[string]string)
		}
		h.PAXRecords[xattrRecord+name] = value
	}
	if err := p.tar.WriteHeader(h); errors.Is(err, tar.ErrHeader) {
		return fmt.Errorf("%w: %s: %w", ErrUnsupported, h.Name, err)
	} else if err != nil {
		return err
	}
	return nil
}

// overlay takes the overlay's own attributes out of a file's, and returns them. ErrUnsupported: the overlay keeps in them where the
// file's content is, and it is no directory that was renamed.
func (p *packer) overlay(attributes map[string]string, at string, dir bool) (map[string]string, error) {
	own := make(map[string]string)
	for name, value := range attributes {
		for _, prefix := range overlayXattrs {
			word, ok := strings.CutPrefix(name, prefix)
			if !ok {
				continue
			}
			if word == "metacopy" || word == "redirect" && (!dir || prefix != overlayXattrs[0] || checkRedirect(value) != nil) {
				return nil, fmt.Errorf("%w: %s: the overlay was mounted with a %s", ErrUnsupported, at, word)
			}
			own[word] = value
			delete(attributes, name)
		}
	}
	return own, nil
}

// modeOf returns the mode of a file for its header: without setuid and setgid, but for the setgid of a directory.
func modeOf(info fs.FileInfo) int64 {
	mode := int64(info.Mode().Perm())
	if info.IsDir() && info.Mode()&fs.ModeSetgid != 0 {
		mode |= syscall.S_ISGID
	}
	if info.Mode()&fs.ModeSticky != 0 {
		mode |= syscall.S_ISVTX
	}
	return mode
}

// bounded is a reader that ends with a context.
type bounded struct {
	ctx  context.Context
	from io.Reader
}

func (b *bounded) Read(p []byte) (int, error) {
	if b.ctx.Err() != nil {
		return 0, context.Cause(b.ctx)
	}
	return b.from.Read(p)
}

// onlyWriter hides a ReadFrom, which would use a buffer of its own.
type onlyWriter struct{ io.Writer }
