package fake

import (
	"io/fs"
	"maps"
	"slices"
	"sync"
)

// Files are the files of one session, under the names that its commands give them. The zero value is empty.
type Files struct {
	mu    sync.Mutex // protects files
	files map[string][]byte
}

// Read returns the content of a file, or fs.ErrNotExist.
func (f *Files) Read(name string) ([]byte, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	content, ok := f.files[name]
	if !ok {
		return nil, &fs.PathError{Op: "open", Path: name, Err: fs.ErrNotExist}
	}
	return slices.Clone(content), nil
}

// Write replaces the content of a file.
func (f *Files) Write(name string, content []byte) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.files == nil {
		f.files = make(map[string][]byte)
	}
	f.files[name] = slices.Clone(content)
}

// Remove removes a file. It succeeds if there is no such file.
func (f *Files) Remove(name string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.files, name)
}

// Names returns the names of all files in order.
func (f *Files) Names() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return slices.Sorted(maps.Keys(f.files))
}
