package cache

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"
)

// A Part is a directory of a layer that has several.
type Part struct {
	Name string // in the directory of the layer
	Top  string // it is copied from Dir below Top; a missing one is left out
	Dir  string
	// Tracked are the files of a commit, as true, and the directories above them, as false. Files among them are left out, and
	// directories that have nothing else.
	Tracked map[string]bool
	// Omit are names in Dir that are left out.
	Omit []string
	// Links are copied wherever they lead. They are never followed.
	Links bool
}

// PutParts makes a layer of several directories, as Put does of one. A layer without any file is one, too.
func (s *Store) PutParts(name, key string, parts []Part, most int64) (bytes int64, err error) {
	return s.PutMade(name, key, func(to string) (bytes int64, err error) {
		if err := os.Mkdir(to, 0o700); err != nil {
			return 0, err
		}
		for _, p := range parts {
			if _, err := os.Lstat(filepath.Join(p.Top, p.Dir)); errors.Is(err, fs.ErrNotExist) {
				continue
			}
			n, err := p.copy(to, s.uid, most-bytes)
			if err != nil {
				return 0, err
			}
			bytes += n
		}
		return bytes, nil
	})
}

func (p *Part) copy(to string, uid int, most int64) (bytes int64, err error) {
	c := copying{uid: uid, left: most, part: p, most: "it is larger than MaxBytes"}
	if err := c.open(filepath.Join(to, p.Name), p.Top, p.Dir); err != nil {
		return 0, err
	}
	defer c.close()
	if err := c.dir(".", 0); err != nil {
		return 0, err
	}
	return most - c.left, nil
}

// omits reports whether an entry is left out.
func (p *Part) omits(at string, isDir bool) bool {
	if p == nil {
		return false
	}
	for _, name := range p.Omit {
		if at == name {
			return true
		}
	}
	file, tracked := p.Tracked[at]
	return tracked && (file || !isDir)
}

// prunes reports whether a directory is left out if nothing is in it.
func (p *Part) prunes(at string) bool {
	if p == nil {
		return false
	}
	_, tracked := p.Tracked[at]
	return tracked
}

// A Stored is a layer that new sessions may use.
type Stored struct {
	Name, Key string
	Made      time.Time
	Used      bool // by a session
}

// Stored returns the layers whose names begin with a prefix, in no order.
func (s *Store) Stored(prefix string) (all []Stored) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, l := range s.layers {
		if strings.HasPrefix(name, prefix) {
			all = append(all, Stored{Name: name, Key: l.Key, Made: l.Made, Used: l.uses > 0})
		}
	}
	return all
}

// Remove takes a layer away from new sessions. It goes when no session uses it.
func (s *Store) Remove(name string) {
	s.mu.Lock()
	l := s.layers[name]
	delete(s.layers, name)
	unused := l != nil && l.uses == 0
	if l != nil {
		l.old = true
	}
	s.mu.Unlock()
	if l == nil {
		return
	}
	os.Remove(filepath.Join(s.dir, name, current))
	if unused {
		os.RemoveAll(filepath.Join(s.dir, name)) // what is left goes when the agent starts again
	}
}
