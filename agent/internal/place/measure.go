package place

import (
	"context"
	"encoding/binary"
	"errors"
	"io/fs"
	"os"
	"syscall"
)

// Usage is what a uid has on a disk. A file with several links counts once for all of them: each link counts as a part of it.
type Usage struct {
	Bytes, Files float64
}

// A Measuring is one walk that counts what lies below a directory, by owner.
type Measuring struct {
	// Usage is the count so far.
	Usage map[int]Usage
	// Cut says that a part below keptLevels was moved during the walk, and may have been left out.
	Cut bool
	// Entries is how many files, directories and links were counted.
	Entries int
	// Step is called after every stepEntries entries. The walk ends if it returns false.
	Step func() (goOn bool)

	levels   []reading
	dev      uint64
	searches int // for what was renamed
	buffer   []byte
}

const (
	stepEntries = 256
	// keptLevels is how many directories a walk holds open, from the top down. A session that moves one of them does not mislead
	// the walk. The walk goes up to a deeper one by "..", and leaves the rest of a part out that was moved meanwhile.
	keptLevels = 128
	// maxLevels bounds the memory of a walk.
	maxLevels = 16384
	// A directory is read in small pieces, because one may hold millions of names. maxName is the longest entry.
	keptPiece, deepPiece = 4 << 10, 1 << 10
	// findTries is how often a directory is looked for that was renamed after its name was read, findPieces how much of the
	// directory above is read each time, and maxSearches how often a walk looks at all.
	findTries   = 100
	findPieces  = 16
	maxSearches = 10_000
)

// reading is a directory that a walk is in.
type reading struct {
	fd       int // -1 = it was closed; see keptLevels
	ino      uint64
	position int64    // where to read on
	rest     []dirent // read, and not looked at
}

type dirent struct {
	ino  uint64
	name string
}

// Measure counts what lies below a directory. It follows no links, and stays in the directory's file system. A missing directory
// is no error.
//
// A task may move its directories without pause, nest them without end, or have millions of files. None of that holds up a walk,
// or takes much of the agent's memory.
func (m *Measuring) Measure(ctx context.Context, dir string) error {
	m.Usage, m.buffer = make(map[int]Usage), make([]byte, keptPiece)
	fd, err := openTop(dir)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENOTDIR) {
		return nil
	}
	if err != nil {
		return err
	}
	defer m.close()
	var st syscall.Stat_t
	if err := syscall.Fstat(fd, &st); err != nil {
		syscall.Close(fd)
		return err
	}
	m.dev = st.Dev
	m.count(&st)
	m.levels = append(m.levels, reading{fd: fd, ino: st.Ino})
	for len(m.levels) > 0 && ctx.Err() == nil {
		here := &m.levels[len(m.levels)-1]
		if len(here.rest) == 0 {
			if here.rest, err = here.next(m.buffer[:m.piece()]); err != nil {
				return err
			}
			if len(here.rest) == 0 {
				m.leave()
				continue
			}
		}
		entry := here.rest[0]
		here.rest = here.rest[1:]
		m.look(here, entry)
		if m.Entries%stepEntries == 0 && m.Step != nil && !m.Step() {
			return nil
		}
	}
	return context.Cause(ctx)
}

// piece is how many bytes of the directory that the walk is in are read at once.
func (m *Measuring) piece() int {
	if len(m.levels) > keptLevels {
		return deepPiece
	}
	return keptPiece
}

// look counts an entry, and enters it if it is a directory.
func (m *Measuring) look(here *reading, entry dirent) {
	var st syscall.Stat_t
	m.Entries++
	if err := fstatat(here.fd, entry.name, &st); err != nil || st.Ino != entry.ino && st.Dev == m.dev {
		name, found := m.find(here.fd, entry.ino)
		if !found || fstatat(here.fd, name, &st) != nil {
			return // gone, or elsewhere
		}
		entry.name = name
	}
	if st.Dev != m.dev {
		return
	}
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		m.count(&st)
		return
	}
	fd, err := openBelow(here.fd, entry.name)
	for tries := 0; err != nil && tries < findTries; tries++ {
		name, found := m.find(here.fd, st.Ino)
		if !found {
			continue // it may come back
		}
		fd, err = openBelow(here.fd, name)
	}
	if err != nil || syscall.Fstat(fd, &st) != nil || st.Dev != m.dev {
		if err == nil {
			syscall.Close(fd)
		}
		return
	}
	m.count(&st)
	if len(m.levels) >= maxLevels {
		m.Cut = true
		syscall.Close(fd)
		return
	}
	if len(m.levels) >= keptLevels+1 { // here is one that the walk comes back to by ".."
		syscall.Close(here.fd)
		here.fd = -1
	}
	m.levels = append(m.levels, reading{fd: fd, ino: st.Ino})
}

func (m *Measuring) count(st *syscall.Stat_t) {
	links := float64(1)
	if st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		links = float64(max(st.Nlink, 1))
	}
	u := m.Usage[int(st.Uid)]
	u.Bytes += float64(st.Blocks) * 512 / links
	u.Files += 1 / links
	m.Usage[int(st.Uid)] = u
}

// leave goes up to the directory above.
func (m *Measuring) leave() {
	left := m.pop()
	if len(m.levels) == 0 || m.levels[len(m.levels)-1].fd >= 0 {
		syscall.Close(left.fd)
		return
	}
	above := &m.levels[len(m.levels)-1]
	up, err := openBelow(left.fd, "..")
	syscall.Close(left.fd)
	var st syscall.Stat_t
	if err == nil && syscall.Fstat(up, &st) == nil && st.Dev == m.dev && st.Ino == above.ino {
		above.fd = up
		_, err := syscall.Seek(up, above.position, 0)
		if err == nil {
			return
		}
	}
	if err == nil {
		syscall.Close(up)
	}
	m.Cut = true
	above.fd = -1
	for m.levels[len(m.levels)-1].fd < 0 {
		m.pop()
	}
}

func (m *Measuring) pop() reading {
	last := m.levels[len(m.levels)-1]
	m.levels = m.levels[:len(m.levels)-1]
	return last
}

func (m *Measuring) close() {
	for _, l := range m.levels {
		if l.fd >= 0 {
			syscall.Close(l.fd)
		}
	}
	m.levels = nil
}

// next reads more of a directory, as much as fits into a buffer. There is nothing at its end.
func (r *reading) next(buf []byte) (entries []dirent, err error) {
	for len(entries) == 0 {
		n, err := syscall.Getdents(r.fd, buf)
		switch {
		case err == syscall.EINTR:
			continue
		case err == syscall.ENOENT || err == nil && n <= 0: // it was removed, or has ended
			return nil, nil
		case err != nil:
			return nil, os.NewSyscallError("getdents", err)
		}
		entries, r.position = parse(buf[:n], r.position)
	}
	return entries, nil
}

// parse reads entries as getdents64 writes them. position is where the directory goes on.
func parse(buf []byte, position int64) (entries []dirent, _ int64) {
	const header = 19
	for len(buf) > header {
		size := int(binary.NativeEndian.Uint16(buf[16:]))
		if size <= header || size > len(buf) {
			break
		}
		position = int64(binary.NativeEndian.Uint64(buf[8:]))
		name := buf[header:size]
		for i, b := range name {
			if b == 0 {
				name = name[:i]
				break
			}
		}
		if s := string(name); s != "." && s != ".." {
			entries = append(entries, dirent{binary.NativeEndian.Uint64(buf), s})
		}
		buf = buf[size:]
	}
	return entries, position
}

// find returns the present name of an entry that was renamed in its directory.
func (m *Measuring) find(fd int, ino uint64) (name string, found bool) {
	if m.searches++; m.searches > maxSearches {
		return "", false
	}
	again, err := openBelow(fd, ".")
	if err != nil {
		return "", false
	}
	defer syscall.Close(again)
	r := reading{fd: again}
	for range findPieces {
		entries, err := r.next(m.buffer)
		if err != nil || len(entries) == 0 {
			return "", false
		}
		for _, e := range entries {
			if e.ino == ino {
				return e.name, true
			}
		}
	}
	return "", false
}
