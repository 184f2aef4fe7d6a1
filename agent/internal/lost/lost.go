// Package lost keeps what sessions could not save when they ended. It is kept in files of root, of which no session can open one, so a uid can
// be given out again when its session is gone.
package lost

import (
	"bufio"
	"cmp"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"
)

// A Store is a directory of kept work. It is safe for concurrent use.
type Store struct {
	dir string
	mu  sync.Mutex // makes what Keep does at its end atomic
}

// A Header describes kept work. It is the first line of its file, and the work follows.
type Header struct {
	Name   string    `json:"name"`             // of the session
	Branch string    `json:"branch,omitempty"` // that was checked out
	Made   time.Time `json:"made"`
	Until  time.Time `json:"until"` // is removed then
	Bytes  int64     `json:"-"`     // of the file
}

// Bounds bound what a Store keeps. Each is above 0.
type Bounds struct {
	Count int
	Bytes int64 // of all together
	Age   time.Duration
}

// ErrNone says that nothing is kept under a name.
var ErrNone = errors.New("nothing is kept of this session")

// begun is how the name of a file begins that is not whole.
const begun = "new-"

// Open opens the store in a directory, and removes what is not whole or too old.
func Open(dir string) (*Store, error) {
	s := &Store{dir: dir}
	if info, err := os.Lstat(dir); err == nil && !private(info) { // the directory above it is not root's alone
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), begun) {
			os.Remove(filepath.Join(dir, e.Name()))
		}
	}
	s.list() // removes what is too old
	return s, nil
}

// private reports whether a directory is root's alone.
func private(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.IsDir() && st.Uid == 0 && info.Mode().Perm() == 0o700
}

// path returns the file of a name.
func (s *Store) path(name string) string {
	sum := sha256.Sum256([]byte(name))
	return filepath.Join(s.dir, hex.EncodeToString(sum[:]))
}

// Keep keeps work under a name, which it replaces. It reads the work to its end, and then calls whole, which says whether that is all.
// What is over the bounds goes: the oldest first. Work that is itself larger is refused.
func (s *Store) Keep(name, branch string, b Bounds, work io.Reader, whole func() error) (h Header, err error) {
	at := filepath.Join(s.dir, begun+rand.Text())
	f, err := os.OpenFile(at, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o600)
	if err != nil {
		return h, err
	}
	defer func() {
		f.Close()
		if err != nil {
			os.Remove(at)
		}
	}()
	now := time.Now()
	h = Header{Name: name, Branch: branch, Made: now, Until: now.Add(b.Age)}
	line, err := json.Marshal(h)
	if err != nil {
		return h, err
	}
	if _, err := f.Write(append(line, '\n')); err != nil {
		return h, err
	}
	n, err := io.Copy(f, io.LimitReader(work, b.Bytes+1))
	if err == nil && n > b.Bytes {
		err = fmt.Errorf("it has more than %d bytes", b.Bytes)
	}
	if err == nil {
		err = whole()
	}
	if err = cmp.Or(err, f.Sync(), f.Close()); err != nil {
		return h, err
	}
	h.Bytes = n + int64(len(line)) + 1
	s.mu.Lock()
	defer s.mu.Unlock()
	if err := os.Rename(at, s.path(name)); err != nil {
		return h, err
	}
	s.trim(b)
	return h, nil
}

// trim removes the oldest that are over the bounds. The newest stays.
func (s *Store) trim(b Bounds) {
	all := s.list()
	slices.SortFunc(all, func(x, y Header) int { return y.Made.Compare(x.Made) })
	var bytes int64
	for i, h := range all {
		if bytes += h.Bytes; i > 0 && (i >= b.Count || bytes > b.Bytes) {
			os.Remove(s.path(h.Name))
		}
	}
}

// list returns what is kept, and removes what is too old or cannot be read.
func (s *Store) list() (all []Header) {
	entries, _ := os.ReadDir(s.dir)
	for _, e := range entries {
		if strings.HasPrefix(e.Name(), begun) {
			continue
		}
		at := filepath.Join(s.dir, e.Name())
		h, in, err := read(at)
		if err != nil {
			os.Remove(at)
			continue
		}
		in.Close()
		all = append(all, h)
	}
	return all
}

// Size returns the bytes of all files.
func (s *Store) Size() (bytes int64) {
	entries, _ := os.ReadDir(s.dir)
	for _, e := range entries {
		if info, err := e.Info(); err == nil {
			bytes += info.Size()
		}
	}
	return bytes
}

// Find opens what is kept under a name. ErrNone: nothing is. The caller closes it.
func (s *Store) Find(name string) (Header, *Work, error) {
	h, in, err := read(s.path(name))
	if errors.Is(err, fs.ErrNotExist) || err == nil && h.Name != name {
		err = ErrNone
	}
	if err != nil && in != nil {
		in.Close()
	}
	return h, in, err
}

// Work is kept work.
type Work struct {
	*bufio.Reader
	file *os.File
}

// Close ends the reading.
func (w *Work) Close() error { return w.file.Close() }

// read reads the header of a file. Work that is too old is not there.
func read(at string) (h Header, in *Work, err error) {
	f, err := os.OpenFile(at, os.O_RDONLY|syscall.O_NOFOLLOW, 0)
	if err != nil {
		return h, nil, err
	}
	in = &Work{bufio.NewReaderSize(f, 64<<10), f}
	line, err := in.ReadSlice('\n')
	if err == nil {
		err = json.Unmarshal(line, &h)
	}
	if err == nil && time.Now().After(h.Until) {
		err = fs.ErrNotExist
	}
	if err != nil {
		in.Close()
		return h, nil, err
	}
	if info, err := f.Stat(); err == nil {
		h.Bytes = info.Size()
	}
	return h, in, nil
}
