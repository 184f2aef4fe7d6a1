package place

import (
	"sync/atomic"
	"syscall"
)

// Removed counts what was removed from a disk. It is safe for concurrent use. A nil one counts nothing.
type Removed struct {
	bytes, files atomic.Int64
}

// Usage returns what was removed until now.
func (r *Removed) Usage() Usage {
	return Usage{Bytes: float64(r.bytes.Load()), Files: float64(r.files.Load())}
}

// count counts a file that is about to be removed. A file with other links stays on the disk.
func (r *Removed) count(st *syscall.Stat_t) {
	if r == nil || st.Nlink > 1 && st.Mode&syscall.S_IFMT != syscall.S_IFDIR {
		return
	}
	r.bytes.Add(st.Blocks * 512)
	r.files.Add(1)
}
