package gittest

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"strings"
	"sync"
)

// lfsStore has the files of Git LFS of a remote, by their IDs. The zero value has none.
type lfsStore struct {
	mu    sync.Mutex // protects files
	files map[string][]byte
}

// lfsObject names a file, and says how to transfer it.
type lfsObject struct {
	OID     string               `json:"oid"`
	Size    int64                `json:"size"`
	Actions map[string]lfsAction `json:"actions,omitempty"`
	Error   map[string]any       `json:"error,omitempty"`
}

type lfsAction struct {
	Href string `json:"href"`
}

// serve answers a request below info/lfs: the API of batches, with transfers to the same server, which want the same credential.
func (s *lfsStore) serve(w http.ResponseWriter, r *http.Request, base string) {
	_, path, _ := strings.Cut(r.URL.Path, "/info/lfs/")
	oid, object := strings.CutPrefix(path, "files/")
	switch {
	case path == "objects/batch" && r.Method == http.MethodPost:
		s.batch(w, r, base)
	case object && r.Method == http.MethodPut:
		content, err := io.ReadAll(r.Body)
		if err != nil || fmt.Sprintf("%x", sha256.Sum256(content)) != oid {
			http.Error(w, "that is not the file", http.StatusBadRequest)
			return
		}
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.files == nil {
			s.files = make(map[string][]byte)
		}
		s.files[oid] = content
	case object && r.Method == http.MethodGet && s.file(oid) != nil:
		w.Write(s.file(oid))
	default: // such as locks, which a server need not have
		http.NotFound(w, r)
	}
}

func (s *lfsStore) batch(w http.ResponseWriter, r *http.Request, base string) {
	var ask struct {
		Operation string      `json:"operation"`
		Objects   []lfsObject `json:"objects"`
	}
	if err := json.NewDecoder(r.Body).Decode(&ask); err != nil {
		http.Error(w, err.Error(), http.StatusBadRequest)
		return
	}
	for i := range ask.Objects {
		o := &ask.Objects[i]
		switch there := s.file(o.OID) != nil; {
		case ask.Operation == "download" && !there:
			o.Error = map[string]any{"code": 404, "message": "there is no such file"}
		case ask.Operation == "download" || !there:
			o.Actions = map[string]lfsAction{ask.Operation: {Href: base + "/info/lfs/files/" + o.OID}}
		}
	}
	w.Header().Set("Content-Type", "application/vnd.git-lfs+json")
	json.NewEncoder(w).Encode(map[string]any{"transfer": "basic", "objects": ask.Objects})
}

func (s *lfsStore) file(oid string) []byte {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.files[oid]
}

// LFSFiles returns how many files of Git LFS the remote has.
func (r *Remote) LFSFiles() int {
	r.lfs.mu.Lock()
	defer r.lfs.mu.Unlock()
	return len(r.lfs.files)
}
