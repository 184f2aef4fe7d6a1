// Package cache keeps the layers of shared caches: directories of packages that were filled for all sessions of a container. A layer
// never changes. A newer one takes its place for the sessions that are opened afterwards.
package cache

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

// A Store has the layers in a directory, at most one of each name that new sessions use. It is safe for concurrent use.
type Store struct {
	dir string
	uid int // owns the layers' files

	mu     sync.Mutex // protects what follows
	layers map[string]*layer
}

// A layer is a filled directory.
type layer struct {
	Key   string `json:"key"` // what it was filled with
	ID    string `json:"id"`  // the name of its directory
	Bytes int64  `json:"bytes"`

	Made time.Time `json:"made,omitzero"`

	uses int  // by sessions
	old  bool // new sessions have another one
}

// current is the file that names the layer for new sessions.
const current = "current"

// Open opens the store in a directory, and removes all but the layers that sessions use next. uid owns the files of layers. No session
// may be open.
func Open(dir string, uid int) (*Store, error) {
	s := &Store{dir: dir, uid: uid, layers: make(map[string]*layer)}
	if info, err := os.Lstat(dir); err == nil && !private(info) { // the directory above it is not root's alone
		if err := os.RemoveAll(dir); err != nil {
			return nil, err
		}
	}
	if err := os.Mkdir(dir, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return nil, err
	}
	names, err := os.ReadDir(dir)
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		at := filepath.Join(dir, name.Name())
		l := readCurrent(at)
		if l == nil {
			if err := os.RemoveAll(at); err != nil {
				return nil, err
			}
			continue
		}
		s.layers[name.Name()] = l
		entries, err := os.ReadDir(at)
		if err != nil {
			return nil, err
		}
		for _, e := range entries {
			if e.Name() != current && e.Name() != l.ID {
				if err := os.RemoveAll(filepath.Join(at, e.Name())); err != nil {
					return nil, err
				}
			}
		}
	}
	return s, nil
}

// private reports whether a directory is root's alone.
func private(info fs.FileInfo) bool {
	st, ok := info.Sys().(*syscall.Stat_t)
	return ok && info.IsDir() && st.Uid == 0 && info.Mode().Perm() == 0o700
}

// readCurrent returns the layer of a name for new sessions, or nil if there is none that is whole.
func readCurrent(dir string) *layer {
	text, err := os.ReadFile(filepath.Join(dir, current))
	if err != nil {
		return nil
	}
	l := new(layer)
	if json.Unmarshal(text, l) != nil || l.ID != filepath.Base(l.ID) || l.ID == current {
		return nil
	}
	if info, err := os.Lstat(filepath.Join(dir, l.ID)); err != nil || !info.IsDir() {
		return nil
	}
	return l
}

// Use returns the layer of a name for a new session, which uses it until release is called. ok is false if there is none.
func (s *Store) Use(name string) (dir string, release func(), ok bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := s.layers[name]
	if l == nil {
		return "", nil, false
	}
	l.uses++
	return filepath.Join(s.dir, name, l.ID), sync.OnceFunc(func() { s.release(name, l) }), true
}

func (s *Store) release(name string, l *layer) {
	s.mu.Lock()
	l.uses--
	unused := l.old && l.uses == 0
	s.mu.Unlock()
	if unused {
		os.RemoveAll(filepath.Join(s.dir, name, l.ID)) // what is left goes when the agent starts again
	}
}

// Key returns what the layer of a name was filled with, or "" if there is none.
func (s *Store) Key(name string) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	if l := s.layers[name]; l != nil {
		return l.Key
	}
	return ""
}

// Size returns the bytes of all layers that sessions may use next.
func (s *Store) Size() (bytes int64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, l := range s.layers {
		bytes += l.Bytes
	}
	return bytes
}

// Put makes a layer of the files in the directory dir below top, and gives it to new sessions in one step. Nothing may change them
// meanwhile. most bounds the layer's size. After an error, the layer before it stays.
func (s *Store) Put(name, key, top, dir string, most int64) (bytes int64, err error) {
	return s.PutMade(name, key, func(to string) (int64, error) { return copyTree(to, top, dir, s.uid, most) })
}

// PutMade makes a layer by make, in a directory that does not exist.
func (s *Store) PutMade(name, key string, make func(to string) (bytes int64, err error)) (bytes int64, err error) {
	at := filepath.Join(s.dir, name)
	if err := os.Mkdir(at, 0o700); err != nil && !errors.Is(err, fs.ErrExist) {
		return 0, err
	}
	fresh := &layer{Key: key, ID: rand.Text(), Made: time.Now()}
	to := filepath.Join(at, fresh.ID)
	defer func() {
		if err != nil {
			err = errors.Join(err, os.RemoveAll(to))
		}
	}()
	if fresh.Bytes, err = make(to); err != nil {
		return 0, err
	}
	if err := s.point(at, fresh); err != nil {
		return 0, err
	}
	s.mu.Lock()
	before := s.layers[name]
	s.layers[name] = fresh
	unused := false
	if before != nil {
		before.old = true
		unused = before.uses == 0
	}
	s.mu.Unlock()
	if unused {
		os.RemoveAll(filepath.Join(at, before.ID))
	}
	return fresh.Bytes, nil
}

// point makes a layer the one that is found after a start of the agent, even if the machine stops now.
func (s *Store) point(at string, l *layer) error {
	text, err := json.Marshal(l)
	if err != nil {
		return err
	}
	fresh := filepath.Join(at, current+".new")
	if err := os.WriteFile(fresh, text, 0o600); err != nil {
		return err
	}
	if err := syncAll(at); err != nil {
		return err
	}
	return os.Rename(fresh, filepath.Join(at, current))
}

// syncAll writes the file system of a directory out.
func syncAll(dir string) error {
	f, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer f.Close()
	if _, _, e := syscall.Syscall(sysSyncfs, f.Fd(), 0, 0); e != 0 {
		return fmt.Errorf("writing out %s: %w", dir, e)
	}
	return nil
}
