package daemon

import (
	"fmt"
	"syscall"

	"github.com/berth-go/berth/agent/internal/place"
)

// DiskLimits is agent.DiskLimits.
type DiskLimits struct {
	Bytes, Files int64 // 0 = a part of the file system, -1 = no limit
	Parts        int64
}

const (
	leastDiskBytes = 1 << 30
	leastDiskFiles = 100_000
	mostDiskFiles  = 4_000_000 // more take a minute to count
)

// set returns the limits with their defaults on a file system. 0 = no limit.
func (l DiskLimits) set(fs syscall.Statfs_t) place.Usage {
	parts := max(l.Parts, 1)
	bytes, files := int64(fs.Blocks)*fs.Bsize, int64(fs.Files)
	return place.Usage{
		Bytes: choose(l.Bytes, max((bytes-bytes/10)/parts, min(leastDiskBytes, bytes/2))),
		Files: choose(l.Files, min(max((files-files/10)/parts, min(leastDiskFiles, files/2)), mostDiskFiles)),
	}
}

func choose(limit, otherwise int64) float64 {
	switch {
	case limit < 0:
		return 0
	case limit > 0:
		return float64(limit)
	}
	return float64(otherwise)
}

// used returns what all have on a file system.
func used(fs syscall.Statfs_t) place.Usage {
	return place.Usage{
		Bytes: float64(fs.Blocks-fs.Bfree) * float64(fs.Bsize),
		Files: float64(fs.Files - fs.Ffree),
	}
}

// over says in which way a session uses more than it may; "" = it does not.
func over(used, limit place.Usage) string {
	switch {
	case limit.Bytes > 0 && used.Bytes > limit.Bytes:
		return fmt.Sprintf("disk: used %s of %s", bytesText(used.Bytes), bytesText(limit.Bytes))
	case limit.Files > 0 && used.Files > limit.Files:
		return fmt.Sprintf("disk: used %.0f of %.0f files", used.Files, limit.Files)
	}
	return ""
}

func bytesText(n float64) string {
	const mib, gib = 1 << 20, 1 << 30
	switch {
	case n < 10*mib:
		return fmt.Sprintf("%.0f KiB", n/1024)
	case n < 10*gib:
		return fmt.Sprintf("%.0f MiB", n/mib)
	}
	return fmt.Sprintf("%.1f GiB", n/gib)
}
