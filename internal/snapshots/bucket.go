// Package snapshots implements orchestrator.SnapshotStore over a Bucket: anything that keeps objects under names. The drivers are
// Buckets, so that names, digests, verification and the removal of contents are done in one place, and in one way.
//
// A bucket holds:
//
//	names/KIND/KEY       what has a name: digest, size and blob, as JSON
//	blobs/DIGEST.EPOCH   a content
//	marks/BLOB.unused    a Collect has found that no name has this content
//	marks/BLOB.corrupt   a reader has found that this content is not what was stored
//	clock                written to learn the time
//
// # Why no content is removed that a name has
//
// A Collect removes a content if it has been marked as unused for a grace period, and if no name has it in a list that the Collect has
// made after it read the mark. A Put that finds its content in the bucket uses it only if it is not marked, or marked for less than half
// the grace period. It writes the name, and looks for the mark again. If that has become too old, the Put fails. So when it succeeds, the
// name was written half a grace period before any Collect that could remove the content makes its list.
//
// A Collect may be slow, and remove much later what it has decided on. Meanwhile others may have removed the content, and a Put may have
// stored it again. The epoch in the blob's name keeps these two apart. It counts halves of the grace period, and a content that may be
// removed was stored at least two of them ago.
package snapshots

import (
	"context"
	"io"
	"iter"
	"time"
)

// A Bucket keeps objects. All methods are safe for concurrent use by any number of processes, and return when their context ends. What
// is not there is an error that matches fs.ErrNotExist. Names consist of letters, digits and ".-_%/".
type Bucket interface {
	// Stage makes room for a content whose name is not yet known.
	Stage(ctx context.Context) (Stage, error)
	// Write stores a small object. It replaces what had the name, at once and as a whole.
	Write(ctx context.Context, name string, content []byte) error
	// Read opens an object. The context ends the reader, too.
	Read(ctx context.Context, name string) (io.ReadCloser, Object, error)
	// Stat describes an object.
	Stat(ctx context.Context, name string) (Object, error)
	// List lists the objects whose names begin with a prefix. It sees what was written before it was called. An error ends the list.
	List(ctx context.Context, prefix string) iter.Seq2[Object, error]
	// Remove removes an object. It is a success if there is none.
	Remove(ctx context.Context, name string) error
	// RemoveStages removes what dead processes have left of their Stages and uploads, if they began before a time of the bucket's
	// clock. It returns how many they were.
	RemoveStages(ctx context.Context, before time.Time) (int, error)
}

// Object describes an object.
type Object struct {
	Name string
	Size int64
	Time time.Time // when it was written, by the bucket's clock
}

// A Stage is room for a content. It is used by one goroutine.
type Stage interface {
	io.Writer
	// Store gives what was written a name, at once and as a whole, and replaces what had it. digest is its SHA-256. A Stage is stored
	// at most once, and nothing is written to it afterwards.
	Store(ctx context.Context, name string, digest [32]byte) error
	// Close gives the room back. What was stored stays. It may be called twice.
	Close() error
}
