package orchestrator

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"
)

// A SnapshotStore keeps the snapshots of one pool: packed layers and mirrors, each a stream of bytes under a name. All processes of
// the pool use the same one.
//
// Implementations: dirsnapshots (a directory), s3snapshots (a bucket of S3), fake.Snapshots (in memory). The suite in snapshottest
// checks that an implementation does what the comments in this file say.
//
// A content is immutable. It is stored under its digest, and once, whatever number of names it has. A name can be given another
// content, which replaces the former one at once and as a whole.
//
// All methods are safe for concurrent use, by any number of processes. They return when their context ends, and may be repeated
// after any error. An error that matches neither ErrNoSnapshot, ErrSnapshotCorrupt nor ErrSnapshotName says that the store cannot be
// used now, and whether the call had an effect is unknown. No method holds a content in memory.
type SnapshotStore interface {
	// Put stores what content gives until io.EOF. No other call sees the name's new content before Put has stored all of it. If
	// content or the store fails, or the process dies, the name keeps what it had, and Collect removes what is left of the upload.
	// Of two calls for one name, the later one to end wins. Put ends with its context only between two calls of content.Read, so a
	// Read that blocks must itself end with the context. ErrSnapshotName: no snapshot can have this name.
	Put(ctx context.Context, name SnapshotName, content io.Reader) (Snapshot, error)
	// Stat describes a snapshot without reading its content: the cheap way to ask whether there is one. ErrNoSnapshot: there is
	// none. ErrSnapshotCorrupt: its description is damaged.
	Stat(ctx context.Context, name SnapshotName) (Snapshot, error)
	// Open reads a snapshot. ErrNoSnapshot: there is none. ErrSnapshotCorrupt: its description is damaged, or its content is gone.
	//
	// The content is verified when it ends. The reader compares length and digest, and returns io.EOF only if both are right.
	// Otherwise it returns ErrSnapshotCorrupt in its place. A caller may rely on what it has read after io.EOF, and not before: it
	// unpacks aside, and renames what it has unpacked when it has seen io.EOF. Any other error is one of the way to the store. The
	// context ends the reader, too. A snapshot that is deleted or replaced while it is read can be read to its end, or its
	// reader fails; a reader never returns a mixture. The caller closes the reader.
	Open(ctx context.Context, name SnapshotName) (io.ReadCloser, Snapshot, error)
	// List lists the snapshots of a kind in no order; "" lists those of all kinds. A snapshot whose description is damaged comes with
	// its Name and ErrSnapshotCorrupt, and the list continues. Any other error is the last of the list. A snapshot that is stored
	// or deleted meanwhile may be in the list or not.
	List(ctx context.Context, kind SnapshotKind) iter.Seq2[Snapshot, error]
	// Delete removes a name. It is a success if there is none. Its content goes with a later Collect, unless another name has it.
	Delete(ctx context.Context, name SnapshotName) error
	// Collect removes the contents that have had no name for a grace period, a day by default, and what uploads have left that
	// began before that. A content goes with the second of two calls that are a grace period apart: the first one notes
	// that it has no name. Any number of processes may call Collect beside all other methods.
	Collect(ctx context.Context) (Collected, error)
}

// SnapshotKind says what a snapshot is. It has 1 to 16 lower-case letters.
type SnapshotKind string

// The kinds of snapshots.
const (
	SnapshotSession SnapshotKind = "session" // the work of a session: its top layer
	SnapshotLayer   SnapshotKind = "layer"   // a prepared layer of a repository
	SnapshotMirror  SnapshotKind = "mirror"  // a repository's mirror
)

// SnapshotName names a snapshot in its pool.
type SnapshotName struct {
	Kind SnapshotKind
	Key  string // 1 to 80 bytes of UTF-8 without control characters
}

// String returns "layer/KEY".
func (n SnapshotName) String() string { return string(n.Kind) + "/" + n.Key }

// maxSnapshotKey is the limit of a key, in bytes: a store may need three for each in the name of a file, which has at most 255.
const maxSnapshotKey = 80

// Validate returns ErrSnapshotName for a name that no snapshot can have.
func (n SnapshotName) Validate() error {
	notLower := func(r rune) bool { return r < 'a' || r > 'z' }
	switch {
	case len(n.Kind) == 0 || len(n.Kind) > 16 || strings.IndexFunc(string(n.Kind), notLower) >= 0:
		return fmt.Errorf("%w: kind %q: it has 1 to 16 lower-case letters", ErrSnapshotName, n.Kind)
	case len(n.Key) == 0 || len(n.Key) > maxSnapshotKey:
		return fmt.Errorf("%w: a key of %d bytes: it has 1 to %d", ErrSnapshotName, len(n.Key), maxSnapshotKey)
	case !utf8.ValidString(n.Key) || strings.ContainsFunc(n.Key, unicode.IsControl):
		return fmt.Errorf("%w: key %q: it is UTF-8 without control characters", ErrSnapshotName, n.Key)
	}
	return nil
}

// Snapshot describes a snapshot.
type Snapshot struct {
	Name   SnapshotName
	Digest string    // of its content: "sha256:" and 64 hexadecimal digits
	Size   int64     // of its content in bytes, as it is stored
	Stored time.Time // when it was put under this name, by the store's clock
}

// Collected is what a call of SnapshotStore.Collect has removed.
type Collected struct {
	Contents int   // contents without a name
	Bytes    int64 // their size
	Uploads  int   // uploads that did not end. A store that lists none of them, because none can be left, says 0
}

// The errors of a SnapshotStore.
var (
	// ErrNoSnapshot says that there is no snapshot of this name. It matches fs.ErrNotExist.
	ErrNoSnapshot = fmt.Errorf("orchestrator: no such snapshot: %w", fs.ErrNotExist)
	// ErrSnapshotCorrupt says that a snapshot is not what was stored. To read it again does not help: the caller deletes it.
	ErrSnapshotCorrupt = errors.New("orchestrator: snapshot is corrupt")
	// ErrSnapshotName says that no snapshot can have a name.
	ErrSnapshotName = errors.New("orchestrator: not a snapshot's name")
)
