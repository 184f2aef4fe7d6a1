package sqlitestore

import (
	"context"
	"os"
	"time"
)

// SQLite restarts its log (the -wal file) when all of the log is in the database and no reader uses it. While Views overlap
// without a pause, that moment does not come by itself, and the log would grow without bound.

const (
	// mostLog is the size of the log in bytes from which on new Views wait for the running ones, for logPatience.
	mostLog = 256 << 20
	// logEvery is the number of commits between two checks of the log's size.
	logEvery = 256
	// logPatience bounds that wait. logPause is the time without such waits after one in vain.
	logPatience = 2 * time.Second
	logPause    = time.Minute
)

// shorten begins the log anew if it is too long, and returns when that may be tried again. Views of other processes, which
// are not waited for, can keep it from doing so.
func (s *Store) shorten(now time.Time) (next time.Time) {
	info, err := os.Stat(s.writer.file.path + "-wal")
	if err != nil || info.Size() <= s.mostLog {
		return now
	}
	ctx, cancel := context.WithTimeout(context.Background(), logPatience)
	defer cancel()
	taken := 0
	defer func() {
		for range taken {
			<-s.readers.room
		}
	}()
	for taken < mostViews {
		select {
		case s.readers.room <- struct{}{}:
			taken++
		case <-ctx.Done():
			return now.Add(logPause)
		case <-s.closing:
			return now
		}
	}
	if !s.writer.truncate() {
		return now.Add(logPause)
	}
	return now
}

// truncate writes the log to the database and begins it anew, unless another process reads or writes just now. A failure
// leaves the log as it is, which does no harm.
func (w *writer) truncate() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c == nil || w.c.once("PRAGMA busy_timeout = 0") != nil {
		return false
	}
	defer func() { _ = w.c.once(busyTimeout) }()
	busy, err := w.c.number("PRAGMA wal_checkpoint(TRUNCATE)") // the first of three columns
	return err == nil && busy == 0
}
