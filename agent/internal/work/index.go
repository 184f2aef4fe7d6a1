package work

import (
	"bytes"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"hash"
	"os"
	"syscall"
	"time"
)

// An index of git has, after a header, an entry for each file: what the kernel said of it, the ID of its content, flags and its path. See
// gitformat-index(5).
const (
	indexHeader = 12
	entryMode   = 24
	entryUID    = 28
	entrySize   = 36
	entryID     = 40
	extended    = 0x4000 // in the flags: two more bytes of them follow
	stageMask   = 0x3000
)

var errIndex = errors.New("no index of git that can be read")

// eachEntry calls fn with each entry of an index of version 2 or 3 that names all its files. n is the size of an ID.
func eachEntry(index []byte, n int, fn func(entry []byte, path string, flags uint16)) error {
	end := len(index) - n
	if end < indexHeader || string(index[:4]) != "DIRC" {
		return errIndex
	}
	if v := binary.BigEndian.Uint32(index[4:]); v != 2 && v != 3 {
		return errIndex
	}
	at := indexHeader
	for range binary.BigEndian.Uint32(index[8:]) {
		path := at + entryID + n + 2
		if path > end {
			return errIndex
		}
		flags := binary.BigEndian.Uint16(index[path-2:])
		if flags&extended != 0 {
			path += 2
		}
		length := bytes.IndexByte(index[min(path, end):end], 0)
		if length <= 0 {
			return errIndex
		}
		fn(index[at:path], string(index[path:path+length]), flags)
		at += (path + length - at + 8) &^ 7
	}
	for at+8 <= end {
		switch string(index[at : at+4]) {
		case "link", "sdir": // other files have entries, or directories stand for files
			return errIndex
		}
		size := int(binary.BigEndian.Uint32(index[at+4:]))
		if size > end-at-8 {
			return errIndex
		}
		at += 8 + size
	}
	return nil
}

// A stamp is what the kernel said of a file, as git keeps it.
type stamp struct{ ctime, mtime, id, size uint64 }

// stampOf makes the stamp of a file as it is now.
func stampOf(st *syscall.Stat_t) stamp {
	at := func(t syscall.Timespec) uint64 { return uint64(uint32(t.Sec))<<32 | uint64(uint32(t.Nsec)) }
	mode := st.Mode & (syscall.S_IFMT | 0o111)
	return stamp{at(st.Ctim), at(st.Mtim), uint64(uint32(st.Ino))<<32 | uint64(mode), uint64(uint32(st.Size))}
}

// A base is what a checkout had when its session began.
type base struct {
	files   map[string]stamp
	dirs    map[string]bool // that have files
	modules map[string]bool
	made    time.Time // what the kernel has changed since then, or at that very time, may be changed
}

// readBase reads the index that a checkout began with.
func readBase(name string, idSize int) (*base, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil || !info.Mode().IsRegular() || info.Size() > maxIndex {
		return nil, errIndex
	}
	index := make([]byte, info.Size())
	if _, err := f.ReadAt(index, 0); err != nil {
		return nil, err
	}
	b := &base{files: make(map[string]stamp), dirs: map[string]bool{".": true}, modules: make(map[string]bool), made: info.ModTime()}
	err = eachEntry(index, idSize, func(e []byte, path string, flags uint16) {
		mode := binary.BigEndian.Uint32(e[entryMode:])
		if isModule(e) { // it is a directory, which is empty
			b.addDirs(path + "/")
			b.modules[path] = true
			return
		}
		at := func(n int) uint64 { return binary.BigEndian.Uint64(e[n:]) }
		ino := uint64(binary.BigEndian.Uint32(e[20:]))
		b.files[path] = stamp{at(0), at(8), ino<<32 | uint64(mode&(syscall.S_IFMT|0o111)), uint64(binary.BigEndian.Uint32(e[entrySize:]))}
		b.addDirs(path)
	})
	return b, err
}

// maxIndex bounds an index: one of a million files has 100 MB.
const maxIndex = 256 << 20

// addDirs adds the directories above a path.
func (b *base) addDirs(path string) {
	for i := len(path) - 1; i > 0; i-- {
		if path[i] == '/' {
			if b.dirs[path[:i]] {
				return
			}
			b.dirs[path[:i]] = true
		}
	}
}

// same reports whether a file is the one of the base.
func (b *base) same(path string, st *syscall.Stat_t) bool {
	was, ok := b.files[path]
	return ok && was == stampOf(st) && b.before(st)
}

// before reports whether a file was last changed before the session began.
func (b *base) before(st *syscall.Stat_t) bool { return time.Unix(st.Ctim.Unix()).Before(b.made) }

// freshen gives the entries of an index what another one says of the same content at the same path. So git need not read these files to
// know that they have it.
func freshen(index, fresh []byte, idSize int) error {
	known := make(map[string][]byte)
	if err := eachEntry(fresh, idSize, func(e []byte, path string, _ uint16) { known[path] = e }); err != nil {
		return err
	}
	if err := eachEntry(index, idSize, func(e []byte, path string, flags uint16) {
		now := known[path]
		if flags&stageMask != 0 || now == nil || !bytes.Equal(e[entryMode:entryUID], now[entryMode:entryUID]) || !bytes.Equal(e[entryID:entryID+idSize], now[entryID:entryID+idSize]) {
			return
		}
		copy(e[:entryID], now[:entryID])
	}); err != nil {
		return err
	}
	end := len(index) - idSize
	if bytes.Count(index[end:], []byte{0}) == idSize {
		return nil // git was told to write no checksum
	}
	sum := hash.Hash(sha1.New())
	if idSize == sha256.Size {
		sum = sha256.New()
	}
	sum.Write(index[:end])
	copy(index[end:], sum.Sum(nil))
	return nil
}

// idSize returns the size of an ID in bytes, by that of a commit.
func idSize(commit string) int {
	if len(commit) == 2*sha256.Size {
		return sha256.Size
	}
	return sha1.Size
}
