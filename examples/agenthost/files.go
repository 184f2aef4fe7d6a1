package main

import (
	"cmp"
	"crypto/rand"
	"encoding/json"
	"errors"
	"io"
	"io/fs"
	"net/http"
	"path"
	"strconv"
	"time"

	"github.com/berth-go/berth/files"
)

// entry is a file in a directory.
type entry struct {
	Name     string    `json:"name"`
	Type     string    `json:"type"` // file, directory, link or other
	Size     int64     `json:"size"`
	Modified time.Time `json:"modified"`
}

// at returns the files of the request's task, and the name that the request is about.
func (a *app) at(r *http.Request) (*files.FS, string, error) {
	s, err := a.find(r)
	if err != nil {
		return nil, "", err
	}
	return s.FS(r.Context()), cmp.Or(r.PathValue("path"), "."), nil
}

// readFile sends a file of any size, or a directory as JSON.
func (a *app) readFile(w http.ResponseWriter, r *http.Request) {
	fsys, name, err := a.at(r)
	if err != nil {
		refuse(w, err)
		return
	}
	info, err := fsys.Stat(name)
	if err != nil {
		refuse(w, err)
		return
	}
	if info.IsDir() {
		a.readDir(w, fsys, name)
		return
	}
	f, err := fsys.Open(name)
	if err != nil {
		refuse(w, err)
		return
	}
	defer f.Close()
	w.Header().Set("Content-Type", "application/octet-stream") // whatever it is, the browser must not run it
	w.Header().Set("Content-Length", strconv.FormatInt(info.Size(), 10))
	if n, err := io.Copy(w, f); err != nil || n != info.Size() {
		panic(http.ErrAbortHandler) // the client must not take a part for the whole
	}
}

func (a *app) readDir(w http.ResponseWriter, fsys *files.FS, name string) {
	all, err := fsys.ReadDir(name)
	if err != nil {
		refuse(w, err)
		return
	}
	entries := make([]entry, 0, len(all))
	for _, d := range all {
		info, err := d.Info()
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			refuse(w, err)
			return
		}
		kind := "other"
		switch {
		case d.IsDir():
			kind = "directory"
		case d.Type().IsRegular():
			kind = "file"
		case d.Type()&fs.ModeSymlink != 0:
			kind = "link"
		}
		entries = append(entries, entry{Name: d.Name(), Type: kind, Size: info.Size(), Modified: info.ModTime()})
	}
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(entries) // the client has left
}

// writeFile replaces a file by the body. It is never there in part: the body goes to another file, which takes its place when it is whole.
func (a *app) writeFile(r *http.Request) (any, error) {
	fsys, name, err := a.at(r)
	if err != nil {
		return nil, err
	}
	if err := fsys.MkdirAll(path.Dir(name), 0o777); err != nil {
		return nil, err
	}
	part := path.Join(path.Dir(name), "."+path.Base(name)+"."+rand.Text())
	f, err := fsys.Create(part)
	if err != nil {
		return nil, err
	}
	_, err = io.Copy(f, r.Body)
	if err = errors.Join(err, f.Close()); err == nil {
		err = fsys.Rename(part, name)
	}
	if err != nil {
		err = errors.Join(err, fsys.Remove(part))
	}
	return nil, err
}

// removeFile removes a file, or a directory with all below it.
func (a *app) removeFile(r *http.Request) (any, error) {
	fsys, name, err := a.at(r)
	if err != nil {
		return nil, err
	}
	return nil, fsys.RemoveAll(name)
}
