// Package layer packs a directory tree into a stream, and unpacks such a stream: a layer of a workspace, a mirror.
//
// The stream is a tar, compressed by zstd. Directories come before what is in them, names in the order of their bytes, so that one tree
// gives one stream. Kept are the types of files, their modes without setuid and setgid, their times of modification to the nanosecond,
// symbolic links, hard links within the tree, and extended attributes "user.*". Owners are not: all files of a layer belong to one session.
// Sockets, pipes and devices are left out.
//
// # Overlays
//
// The tree may be the upper directory of an overlay mount. What the overlay keeps there for itself is packed as in an OCI image. A
// whiteout of NAME is an empty file ".wh.NAME", and an opaque directory has an empty file ".wh..wh..opq". Unpacking makes whiteouts and
// opaque directories of them again. A directory that was renamed has a redirect, the place of its files in the layers below: it is a record
// of the directory's header. The kernel looks for it in those layers alone. A mount with metadata copies keeps more than that, so a tree
// with them is refused, and a layer's mount says metacopy=off. With the option userxattr there are no redirects. A file whose own name
// begins with ".wh." is refused, too.
//
// # What a stream may do
//
// A stream may come from a task. Unpack resolves no path. It keeps the directory open that it is in, which it has made itself, and makes
// each file in it by the last element of its name alone. So a symbolic link of the stream is never followed, and nothing is written
// beside the new directory. The stream is bounded in entries and bytes, also those that compression hides.
package layer

import (
	"cmp"
	"errors"
)

// The errors of Pack and Unpack that are not those of a file system or of a stream.
var (
	// ErrTooLarge says that a tree or a stream passes its Limits.
	ErrTooLarge = errors.New("layer: too large")
	// ErrUnsupported says that a tree has something that a stream cannot keep. The error names it.
	ErrUnsupported = errors.New("layer: cannot be packed")
	// ErrChanged says that a file changed while it was packed. A later Pack may succeed.
	ErrChanged = errors.New("layer: changed while it was packed")
	// ErrUnsafe says that a stream is not one of Pack, and is refused. The error names the entry.
	ErrUnsafe = errors.New("layer: refused")
)

// Limits bounds a layer. The zero Limits has the defaults.
type Limits struct {
	Entries int   // files, directories and links. Default 2,000,000: ten times a large installation of npm
	Bytes   int64 // sum of the lengths of all files. Default 64 GiB
}

func (l Limits) withDefaults() Limits {
	return Limits{Entries: cmp.Or(l.Entries, 2_000_000), Bytes: cmp.Or(l.Bytes, 64<<30)}
}

// Totals is what was packed or unpacked.
type Totals struct {
	Entries int
	Bytes   int64 // sum of the lengths of all files, before compression
	Skipped int   // sockets, pipes and devices, which Pack leaves out
}

const (
	maxDepth = 256  // directories above a file, each of which Pack and Unpack keep open
	maxName  = 255  // bytes of a name: Linux's limit
	maxPath  = 4096 // bytes of a path or of a link: Linux's limit

	// overhead is what each entry may take of a stream besides the contents of files, in bytes: headers, a long name, attributes.
	overhead = 8 << 10

	whiteout = ".wh."         // before the name of what is removed
	opaque   = ".wh..wh..opq" // in a directory that hides the one below

	xattrRecord = "SCHILY.xattr."  // of a tar header, before the name of an attribute
	linkRecord  = "BERTH.linked"   // of a file of which further links follow
	redirRecord = "BERTH.redirect" // of a directory that an overlay has renamed
	userXattr   = "user."          // attributes that are kept
)

// overlayXattrs begin the names of the overlay's own attributes: without and with the mount option userxattr.
var overlayXattrs = []string{"trusted.overlay.", "user.overlay."}

// account adds an entry with a content to the totals.
func (t *Totals) account(l Limits, size int64) error {
	if t.Entries++; t.Entries > l.Entries || size > l.Bytes-t.Bytes {
		return ErrTooLarge
	}
	t.Bytes += size
	return nil
}
