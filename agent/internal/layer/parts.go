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

// A Part is a directory of a stream that has several. It is packed from the directory Dir; a missing one is left out.
type Part struct {
	Name string // in the stream, one element
	Dir  string
	// Omit reports whether what is at a path below Dir is left out. nil = nothing is
	Omit func(at string, dir bool) bool
	// Lean reports whether a directory is left out if it has nothing else. nil = none is
	Lean func(at string) bool
}

// PackParts writes a tree that has the parts as its directories. Extended attributes are left out, and further names of a file are files of their
// own. What the overlays of a session show is packed as the session sees it. The parts should stand still, as for Pack.
func PackParts(ctx context.Context, w io.Writer, parts []Part, limits Limits) (Totals, error) {
	z, err := compress(w)
	if err != nil {
		return Totals{}, fmt.Errorf("pack: %w", err)
	}
	p := &packer{ctx: ctx, tar: tar.NewWriter(z), limits: limits.withDefaults(), buf: make([]byte, 256<<10)}
	if err := p.parts(parts); err != nil {
		z.Reset(nil) // as in Pack
		return p.totals, fmt.Errorf("pack: %w", err)
	}
	if err := errors.Join(p.tar.Close(), z.Close()); err != nil {
		return p.totals, fmt.Errorf("pack: %w", err)
	}
	return p.totals, nil
}

func (p *packer) parts(parts []Part) error {
	if err := p.tar.WriteHeader(&tar.Header{Typeflag: tar.TypeDir, Name: "./", Mode: 0o700, Format: tar.FormatPAX}); err != nil {
		return err
	}
	for _, part := range parts {
		root, err := os.OpenRoot(part.Dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		err = (&partPacker{packer: p, part: part, root: root}).directory(".", 0)
		root.Close()
		if err != nil {
			return err
		}
	}
	return nil
}

// A partPacker packs one part.
type partPacker struct {
	*packer
	part Part
	root *os.Root
	lean []lean // directories above that are not written yet
}

// lean is a directory that is written before the first file in it.
type lean struct {
	header *tar.Header
	info   fs.FileInfo
}

func (p *partPacker) directory(at string, depth int) error {
	if depth > maxDepth-1 {
		return fmt.Errorf("%w: %s: it is %d directories deep", ErrTooLarge, at, depth)
	}
	if p.ctx.Err() != nil {
		return context.Cause(p.ctx)
	}
	d, err := p.root.OpenFile(at, os.O_RDONLY|syscall.O_DIRECTORY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return err
	}
	info, err := d.Stat()
	if err != nil {
		d.Close()
		return err
	}
	names, err := d.Readdirnames(p.limits.Entries + 1)
	d.Close()
	if err != nil && !errors.Is(err, io.EOF) {
		return err
	}
	before := len(p.lean)
	p.lean = append(p.lean, lean{&tar.Header{Typeflag: tar.TypeDir, Name: path.Join(p.part.Name, at) + "/", Mode: int64(info.Mode().Perm())}, info})
	if p.part.Lean == nil || !p.part.Lean(at) {
		if err := p.fatten(); err != nil {
			return err
		}
	}
	slices.Sort(names)
	for _, name := range names {
		if err := p.entry(path.Join(at, name), depth); err != nil {
			return err
		}
	}
	p.lean = p.lean[:min(before, len(p.lean))]
	return nil
}

// fatten writes the directories above.
func (p *partPacker) fatten() error {
	for _, one := range p.lean {
		if err := p.packer.header(one.header, one.info, nil); err != nil {
			return err
		}
	}
	p.lean = p.lean[:0]
	return nil
}

func (p *partPacker) entry(at string, depth int) error {
	info, err := p.root.Lstat(at)
	if err != nil {
		return err
	}
	if p.part.Omit != nil && p.part.Omit(at, info.IsDir()) {
		return nil
	}
	switch mode := info.Mode(); {
	case mode.IsDir():
		return p.directory(at, depth+1)
	case !mode.IsRegular() && mode&fs.ModeSymlink == 0:
		p.totals.Skipped++
		return nil
	case strings.HasPrefix(path.Base(at), whiteout):
		return fmt.Errorf("%w: %s: its name begins with %q, which marks what an overlay has removed", ErrUnsupported, at, whiteout)
	case mode.IsRegular():
		return p.file(at)
	}
	target, err := p.root.Readlink(at)
	if err != nil {
		return err
	}
	if err := p.fatten(); err != nil {
		return err
	}
	return p.packer.header(&tar.Header{Typeflag: tar.TypeSymlink, Name: path.Join(p.part.Name, at), Linkname: target, Mode: 0o777}, info, nil)
}

func (p *partPacker) file(at string) error {
	if err := p.fatten(); err != nil {
		return err
	}
	f, err := p.root.OpenFile(at, os.O_RDONLY|syscall.O_NOFOLLOW|syscall.O_NONBLOCK, 0)
	if err != nil {
		return err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return err
	}
	if !info.Mode().IsRegular() {
		return fmt.Errorf("%w: %s was replaced", ErrChanged, at)
	}
	h := &tar.Header{Typeflag: tar.TypeReg, Name: path.Join(p.part.Name, at), Mode: int64(info.Mode().Perm()), Size: info.Size()}
	if err := p.packer.header(h, info, nil); err != nil {
		return err
	}
	n, err := io.CopyBuffer(onlyWriter{p.tar}, &bounded{p.ctx, io.LimitReader(f, h.Size)}, p.buf)
	if err == nil && n < h.Size {
		return fmt.Errorf("%w: %s became shorter", ErrChanged, at)
	}
	return err
}
