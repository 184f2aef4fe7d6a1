package fake

import (
	"io"
	"io/fs"
	"path"
	"slices"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/berth-go/berth/agent/filewire"
)

// Files are the files of one session, in memory: what Session.FS shows. Names are as commands give them: relative names are relative to the
// checkout, which is empty at first. The zero value is empty, too. All methods are safe for concurrent use.
type Files struct {
	workdir string // "" = the root directory
	full    func() bool

	mu       sync.Mutex // protects what follows, and all inodes
	root     *inode
	watchers []*watcher
}

// An inode is a file of any type.
type inode struct {
	mode   fs.FileMode
	mtime  time.Time
	data   []byte
	target string            // of a symbolic link
	below  map[string]*inode // of a directory
}

// newFiles returns the files of a session. full reports whether there is no room for more.
func newFiles(s *session, full func() bool) *Files {
	f := &Files{workdir: s.workdir(), full: full}
	f.init()
	for _, dir := range []string{s.home(), s.home() + "/tmp", s.workdir(), "/tmp", "/var/tmp", "/dev/shm"} {
		f.mkdirAll(dir)
	}
	for _, dir := range []string{"/", "/sessions", "/var", "/dev"} { // are not the session's
		if d, _, err := f.find(dir, true); err == nil {
			d.mode = fs.ModeDir | 0o555
		}
	}
	s.prepared.lay(f, s)
	return f
}

// init makes the root directory. The caller holds mu, if there may be others.
func (f *Files) init() {
	if f.root == nil {
		f.root = &inode{mode: fs.ModeDir | 0o755, mtime: time.Now(), below: make(map[string]*inode)}
	}
}

// mkdirAll makes directories, whatever their modes allow, and returns the last one; nil if a file is in its place.
func (f *Files) mkdirAll(dir string) *inode {
	at := f.root
	for name := range strings.SplitSeq(strings.Trim(path.Clean(dir), "/"), "/") {
		if name == "" {
			continue
		}
		next := at.below[name]
		if next == nil {
			next = &inode{mode: fs.ModeDir | 0o755, mtime: time.Now(), below: make(map[string]*inode)}
			at.below[name] = next
		}
		if at = next; at.below == nil {
			return nil
		}
	}
	return at
}

func (f *Files) at(name string) string {
	if !path.IsAbs(name) {
		name = path.Join("/", f.workdir, name)
	}
	return path.Clean(name)
}

// Read returns the content of a file, or fs.ErrNotExist.
func (f *Files) Read(name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	n, _, err := f.find(f.at(name), true)
	if err == nil && n.below != nil {
		err = syscall.EISDIR
	}
	if err != nil {
		return nil, &fs.PathError{Op: "open", Path: name, Err: err}
	}
	return slices.Clone(n.data), nil
}

// Write replaces the content of a file. It makes the directories above it.
func (f *Files) Write(name string, content []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	at := f.at(name)
	n, real, err := f.find(at, true)
	change := filewire.Written
	if err != nil {
		dir := f.mkdirAll(path.Dir(at))
		if dir == nil {
			return
		}
		n, real, change = &inode{mode: 0o644}, at, filewire.Created|filewire.Written
		dir.below[path.Base(at)] = n
	}
	n.data, n.mtime = slices.Clone(content), time.Now()
	f.note(real, change)
}

// Remove removes a file. It succeeds if there is no such file.
func (f *Files) Remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	if dir, _, err := f.find(path.Dir(f.at(name)), true); err == nil && dir.below[path.Base(name)] != nil {
		delete(dir.below, path.Base(name))
		f.note(f.at(name), filewire.Removed)
	}
}

// Names returns the names of all regular files in order: relative ones of those below the checkout, and absolute ones of the others.
func (f *Files) Names() (names []string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.init()
	var walk func(dir string, at *inode)
	walk = func(dir string, at *inode) {
		for name, n := range at.below {
			full := path.Join(dir, name)
			switch {
			case n.below != nil:
				walk(full, n)
			case n.mode.IsRegular():
				names = append(names, strings.TrimPrefix(full, path.Clean("/"+f.workdir)+"/"))
			}
		}
	}
	walk("/", f.root)
	slices.Sort(names)
	return names
}

const maxLinks = 40 // that are followed for one name

// find returns a file by its absolute name, and its name without symbolic links. Without follow, it returns a link at the end itself. If
// only the file itself is missing, the name is the one that it would have. The caller holds mu.
func (f *Files) find(name string, follow bool) (n *inode, real string, err error) {
	at, real := f.root, "/"
	parents := []*inode{}
	rest := strings.Split(strings.Trim(name, "/"), "/")
	for links := 0; len(rest) > 0; {
		part := rest[0]
		rest = rest[1:]
		switch {
		case part == "" || part == ".":
			continue
		case at.below == nil:
			return nil, "", syscall.ENOTDIR
		case at.mode&0o100 == 0:
			return nil, "", syscall.EACCES
		case len(part) > 255:
			return nil, "", syscall.ENAMETOOLONG
		case part == "..":
			if len(parents) > 0 {
				at, parents, real = parents[len(parents)-1], parents[:len(parents)-1], path.Dir(real)
			}
			continue
		}
		next := at.below[part]
		switch {
		case next == nil && len(rest) == 0:
			return nil, path.Join(real, part), syscall.ENOENT
		case next == nil:
			return nil, "", syscall.ENOENT
		case next.mode&fs.ModeSymlink != 0 && (len(rest) > 0 || follow):
			if links++; links > maxLinks {
				return nil, "", syscall.ELOOP
			}
			if path.IsAbs(next.target) {
				at, real, parents = f.root, "/", nil
			}
			rest = append(strings.Split(strings.Trim(next.target, "/"), "/"), rest...)
			continue
		}
		parents = append(parents, at)
		at, real = next, path.Join(real, part)
	}
	return at, real, nil
}

// above returns the directory of a name, which may be written, and the last element of the name. The caller holds mu.
func (f *Files) above(name string) (dir *inode, base string, err error) {
	dir, _, err = f.find(path.Dir(name), true)
	switch {
	case err != nil:
		return nil, "", err
	case name == "/":
		return nil, "", syscall.EBUSY
	case dir.below == nil:
		return nil, "", syscall.ENOTDIR
	case dir.mode&0o300 != 0o300:
		return nil, "", syscall.EACCES
	}
	return dir, path.Base(name), nil
}

// fileInfo is the state of a file at one time.
type fileInfo struct{ of filewire.Info }

func (n *inode) info(name string) fs.FileInfo {
	size := len(n.data)
	if n.target != "" {
		size = len(n.target)
	}
	return fileInfo{filewire.Info{Name: path.Base(name), Size: int64(size), Mode: n.mode, Mtime: n.mtime}}
}

func (i fileInfo) Name() string       { return i.of.Name }
func (i fileInfo) Size() int64        { return i.of.Size }
func (i fileInfo) Mode() fs.FileMode  { return i.of.Mode }
func (i fileInfo) ModTime() time.Time { return i.of.Mtime }
func (i fileInfo) IsDir() bool        { return i.of.Mode.IsDir() }
func (i fileInfo) Sys() any           { return nil }

// openFile is an open file. It is a filewire.Node.
type openFile struct {
	files   *Files
	of      *inode
	name    string // without links
	flag    filewire.Flag
	entries []string // of the directory that were not returned yet; nil = it was not read
}

func (o *openFile) Stat() (fs.FileInfo, error) {
	o.files.mu.Lock()
	defer o.files.mu.Unlock()
	return o.of.info(o.name), nil
}

func (o *openFile) ReadAt(p []byte, off int64) (int, error) {
	o.files.mu.Lock()
	defer o.files.mu.Unlock()
	switch {
	case o.flag&filewire.Read == 0:
		return 0, syscall.EBADF
	case o.of.below != nil:
		return 0, syscall.EISDIR
	case off < 0:
		return 0, syscall.EINVAL
	case off >= int64(len(o.of.data)):
		return 0, io.EOF
	}
	n := copy(p, o.of.data[off:])
	if n < len(p) {
		return n, io.EOF
	}
	return n, nil
}

func (o *openFile) WriteAt(p []byte, off int64) (int, error) {
	if o.files.full != nil && o.files.full() {
		return 0, syscall.ENOSPC
	}
	o.files.mu.Lock()
	defer o.files.mu.Unlock()
	if o.flag&filewire.Write == 0 {
		return 0, syscall.EBADF
	}
	if o.flag&filewire.Append != 0 {
		off = int64(len(o.of.data))
	}
	if off < 0 || off > 1<<40 {
		return 0, syscall.EINVAL
	}
	if end := off + int64(len(p)); end > int64(len(o.of.data)) {
		o.of.data = append(o.of.data, make([]byte, end-int64(len(o.of.data)))...)
	}
	copy(o.of.data[off:], p)
	o.of.mtime = time.Now()
	o.files.note(o.name, filewire.Written)
	return len(p), nil
}

func (o *openFile) ReadDir(n int) (list []fs.FileInfo, err error) {
	o.files.mu.Lock()
	defer o.files.mu.Unlock()
	switch {
	case o.of.below == nil:
		return nil, syscall.ENOTDIR
	case o.entries == nil:
		o.entries = sortedKeys(o.of.below)
	}
	for len(o.entries) > 0 && len(list) < n {
		if one := o.of.below[o.entries[0]]; one != nil {
			list = append(list, one.info(o.entries[0]))
		}
		o.entries = o.entries[1:]
	}
	return list, nil
}

func (o *openFile) Close() error { return nil }

func sortedKeys(m map[string]*inode) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	slices.Sort(keys)
	return keys
}
