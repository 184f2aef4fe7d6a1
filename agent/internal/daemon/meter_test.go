package daemon

import (
	"syscall"
	"testing"
	"time"

	"github.com/berth-go/berth/agent/internal/place"
	"github.com/berth-go/berth/agent/internal/wire"
)

// TestWhatIsWrittenBeforeTheFirstLookCounts has a session that is quick: it has filled its part of the disk before the meter
// has seen it once.
func TestWhatIsWrittenBeforeTheFirstLookCounts(t *testing.T) {
	const size = 4096
	var sessions []*session
	fs := syscall.Statfs_t{Bsize: size, Blocks: 1 << 30, Bfree: 1 << 29, Bavail: 1 << 29, Files: 1 << 20, Ffree: 1 << 19}
	m := &meter{
		last:   fs,
		places: &place.Places{}, limit: place.Usage{Bytes: 16 << 20, Files: 1000}, roomed: true,
		open: func() []*session { return sessions },
	}
	at := time.Now()
	look := func(wrote int64) int {
		fs.Bfree -= uint64(wrote) / size
		at = at.Add(lookEvery)
		return len(m.look(fs, place.Usage{}, at))
	}
	if n := look(1 << 30); n != 0 {
		t.Fatalf("%d walks without a session", n)
	}
	sessions = append(sessions, &session{Session: wire.Session{ID: "modest", UID: 10001}})
	if n := look(1 << 20); n != 0 {
		t.Errorf("%d walks although the session is within its limit", n)
	}
	sessions = append(sessions, &session{Session: wire.Session{ID: "quick", UID: 10002}})
	if n := look(24 << 20); n != 2 {
		t.Errorf("%d walks after 24 MiB were written, want one of each session", n)
	}
}

// TestARemovalHidesNoGrowth has a session that writes while the agent removes the files of another one in the background. The file
// system is as full as before.
func TestARemovalHidesNoGrowth(t *testing.T) {
	const size = 4096
	s := &session{Session: wire.Session{ID: "quick", UID: 10001}}
	fs := syscall.Statfs_t{Bsize: size, Blocks: 1 << 30, Bfree: 1 << 29, Bavail: 1 << 29, Files: 1 << 20, Ffree: 1 << 19}
	m := &meter{
		last:   fs,
		places: &place.Places{}, limit: place.Usage{Bytes: 16 << 20, Files: 1000}, roomed: true,
		open: func() []*session { return []*session{s} },
	}
	at := time.Now()
	var gone place.Usage
	look := func(wrote, removed int64) int {
		fs.Bfree -= uint64(wrote) / size
		fs.Bfree += uint64(removed) / size
		gone.Bytes += float64(removed)
		at = at.Add(lookEvery)
		return len(m.look(fs, gone, at))
	}
	if n := look(1<<20, 0); n != 0 {
		t.Fatalf("%d walks although the session is within its limit", n)
	}
	if n := look(12<<20, 12<<20); n != 1 {
		t.Errorf("%d walks after 13 MiB were written beside a removal of 12 MiB, want one", n)
	}
}
