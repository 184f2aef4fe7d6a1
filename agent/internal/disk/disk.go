// Package disk says how much of a file system is left.
package disk

import "syscall"

// Room is what may still be written on a file system.
type Room struct {
	Bytes int64
	Files int64 // and directories. It means nothing if the file system makes inodes as it needs them: see Counted
	// Counted says that the file system has a fixed number of inodes.
	Counted bool
	// Kept is the part of Bytes that is left for the work of sessions. Fetches, trees of commits and filled caches do not use it up.
	Kept int64
	// KeptFiles is that part of Files.
	KeptFiles int64
}

const (
	keptPart     = 50 // a fiftieth of the file system is kept
	mostKept     = 512 << 20
	mostKeptFile = 100_000
)

// Of returns what is left of the file system of a path.
func Of(path string) (Room, error) {
	var st syscall.Statfs_t
	if err := syscall.Statfs(path, &st); err != nil {
		return Room{}, err
	}
	return Room{
		Bytes: int64(st.Bavail) * st.Bsize, Files: int64(st.Ffree), Counted: st.Files > 0,
		Kept: min(int64(st.Blocks)*st.Bsize/keptPart, mostKept), KeptFiles: min(int64(st.Files)/keptPart, mostKeptFile),
	}, nil
}

// Holds reports whether so much can be written.
func (r Room) Holds(bytes, files int64) bool {
	return bytes <= r.Bytes && (!r.Counted || files <= r.Files)
}

// Spares reports whether so much can be written without what is kept.
func (r Room) Spares(bytes, files int64) bool {
	return bytes <= r.Bytes-r.Kept && (!r.Counted || files <= r.Files-r.KeptFiles)
}
