package sqlitestore

import (
	"context"
	"os"
	"time"
)

// SQLite begins its log (the -wal file) anew when all of it is in the database and nobody reads from it. While Views
// overlap without a pause that moment does not come by itself, and the log would grow without bound.

const (
	// mostLog is the size of the log, in bytes, from which on new Views wait for a moment for those that run.
	mostLog = 256 << 20
	// logEvery is after how many commits the log's size is looked at.
	logEvery = 256
	// logPatience bounds that wait. One that was in vain is repeated after the next logEvery commits.
	logPatience = 2 * time.Second
)

// shorten begins the log anew if it is too long. Views of other processes can keep it from doing so.
func (s *Store) shorten() {
	info, err := os.Stat(s.writer.file.path + "-wal")
	if err != nil || info.Size() <= s.mostLog {
		return
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
			return
		case <-s.closing:
			return
		}
	}
	s.writer.truncate()
}

// truncate writes the log to the database and begins it anew. A failure leaves the log as it is, which does no harm.
func (w *writer) truncate() {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.c != nil {
		_ = w.c.once("PRAGMA wal_checkpoint(TRUNCATE)")
	}
}
