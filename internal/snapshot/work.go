// Package snapshot keeps the work of sessions in a store of snapshots, and finds it there. Package snapshots is what host applications see of
// it.
package snapshot

import (
	"bufio"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
)

// A Header is the first line of a snapshot. The process that stores the snapshot writes it. What the session's program has packed follows.
type Header struct {
	Version    int       `json:"berth_work"`
	Repository string    `json:"repository"` // its String
	Scope      string    `json:"scope,omitempty"`
	User       string    `json:"user"`
	Task       string    `json:"task"`
	Name       string    `json:"name"`
	Branch     string    `json:"branch,omitempty"`
	Commit     string    `json:"commit,omitempty"` // the base
	Files      int       `json:"files"`
	Bytes      int64     `json:"bytes"`
	Created    time.Time `json:"created"`
}

const version = 1

// Owner is whose snapshots have a name: those of one user on one repository. Scope separates them further, as Config.Sharing says.
type Owner struct {
	Repository naming.Repository
	Scope      string
	User       string
}

const (
	hashLen = 26 // characters of 5 bits
	maxName = 50
)

var alphabet = base32.NewEncoding("abcdefghijklmnopqrstuvwxyz234567").WithPadding(base32.NoPadding)

// ID returns the ID of a snapshot, which is its key in a store.
func (o Owner) ID(name string) string { return o.hash() + "." + name }

func (o Owner) hash() string {
	text := []byte("berth snapshot 1")
	for _, field := range []string{o.Repository.Host, o.Repository.Path, o.Repository.Login, o.Scope, o.User} {
		text = binary.AppendUvarint(text, uint64(len(field)))
		text = append(text, field...)
	}
	sum := sha256.Sum256(text)
	return alphabet.EncodeToString(sum[:])[:hashLen]
}

// NameRule is what CheckName wants.
const NameRule = "must have 1 to 50 letters, digits, '.', '_' and '-', and begin with a letter or a digit"

// CheckName reports whether a snapshot may have a name.
func CheckName(name string) bool { return wellFormed(name) && !IsID(name) }

func wellFormed(name string) bool {
	const letters = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
	return name != "" && len(name) <= maxName && strings.Trim(name, letters+"._-") == "" && strings.ContainsRune(letters, rune(name[0]))
}

// IsID reports whether a text is an ID, and no name.
func IsID(text string) bool {
	return len(text) > hashLen+1 && text[hashLen] == '.' && strings.Trim(text[:hashLen], "abcdefghijklmnopqrstuvwxyz234567") == "" && wellFormed(text[hashLen+1:])
}

// NameOf returns the name in an ID.
func NameOf(id string) string { return id[hashLen+1:] }

// Of returns the name by which a store knows an ID.
func Of(id string) orchestrator.SnapshotName {
	return orchestrator.SnapshotName{Kind: orchestrator.SnapshotSession, Key: id}
}

// A Reader reads a snapshot. Its Header is read already, and is not verified before the end is.
type Reader struct {
	Header Header
	Stored orchestrator.Snapshot
	in     *bufio.Reader
	closer io.Closer
}

// Open opens a snapshot. The errors are those of the store. A content that is no work of a session is an orchestrator.ErrSnapshotCorrupt.
func Open(ctx context.Context, store orchestrator.SnapshotStore, id string) (*Reader, error) {
	content, stored, err := store.Open(ctx, Of(id))
	if err != nil {
		return nil, err
	}
	r, err := Read(content)
	if err != nil {
		return nil, err
	}
	r.Stored = stored
	return r, nil
}

// Read reads the header of a snapshot from its content, and closes the content if it has none.
func Read(content io.ReadCloser) (*Reader, error) {
	r := &Reader{in: bufio.NewReaderSize(content, 64<<10), closer: content}
	line, err := r.in.ReadSlice('\n')
	if errors.Is(err, bufio.ErrBufferFull) || err == io.EOF {
		err = fmt.Errorf("%w: it has no header", orchestrator.ErrSnapshotCorrupt)
	}
	if err == nil && (json.Unmarshal(line, &r.Header) != nil || r.Header.Version != version) {
		err = fmt.Errorf("%w: it is no work of a session that this version can read", orchestrator.ErrSnapshotCorrupt)
	}
	if err != nil {
		content.Close()
		return nil, err
	}
	return r, nil
}

// Read reads what follows the header. io.EOF: all that was read is what was stored.
func (r *Reader) Read(p []byte) (int, error) { return r.in.Read(p) }

// Close ends the reading.
func (r *Reader) Close() error { return r.closer.Close() }

// line returns the header as a line.
func (h Header) line() io.Reader {
	text, _ := json.Marshal(h)
	return bytes.NewReader(append(text, '\n'))
}
