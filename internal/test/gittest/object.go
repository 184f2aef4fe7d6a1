package gittest

import (
	"bytes"
	"compress/zlib"
	"crypto/sha1"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
)

// write stores an object in the form of git's loose objects, and returns its hash.
func (r *Repo) write(kind string, content []byte) string {
	object := append(fmt.Appendf(nil, "%s %d\x00", kind, len(content)), content...)
	sum := sha1.Sum(object)
	hash := hex.EncodeToString(sum[:])
	if _, exists := r.objects[hash]; !exists {
		var b bytes.Buffer
		z := zlib.NewWriter(&b)
		z.Write(object) // writing to a bytes.Buffer does not fail
		z.Close()
		r.objects[hash] = b.Bytes()
	}
	return hash
}

// raw returns the bytes of a hash.
func raw(hash string) []byte {
	b, err := hex.DecodeString(hash)
	if err != nil {
		panic(err) // only write makes hashes
	}
	return b
}

// file returns the content that a bare repository's directory would have under a path. Git's "dumb" HTTP transport
// reads nothing else. It fetches objects one by one, which is fast enough for repositories of some dozen files.
func (r *Repo) file(path string) ([]byte, bool) {
	r.mu.RLock()
	defer r.mu.RUnlock()
	switch path {
	case "HEAD":
		return []byte("ref: refs/heads/" + r.head + "\n"), true
	case "info/refs":
		return []byte(r.refs()), true
	case "objects/info/packs":
		return nil, true // there are none
	}
	if branch, found := strings.CutPrefix(path, "refs/heads/"); found {
		hash, exists := r.branches[branch]
		return []byte(hash + "\n"), exists
	}
	if hash, found := strings.CutPrefix(path, "objects/"); found {
		object, exists := r.objects[strings.Replace(hash, "/", "", 1)]
		return object, exists
	}
	return nil, false
}

// refs lists the branches as git update-server-info does.
func (r *Repo) refs() string {
	var lines []string
	for branch, hash := range r.branches {
		lines = append(lines, hash+"\trefs/heads/"+branch+"\n")
	}
	slices.SortFunc(lines, func(a, b string) int { return strings.Compare(a[40:], b[40:]) })
	return strings.Join(lines, "")
}
