package sqlitestore

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"

	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"
)

// Errors of this store, beside those of package store. All work with errors.Is.
var (
	// ErrNewerSchema says that a later version of berth has opened the database.
	ErrNewerSchema = errors.New("a newer version of berth has changed this database: upgrade this program")
	// ErrForeign says that the file is no database of this store. It was not touched.
	ErrForeign = errors.New("the file is not a berth store")
	// ErrDamaged says that the database contradicts itself: restore a backup.
	ErrDamaged = errors.New("the database is damaged; restore a backup")
	// ErrReadOnly says that the file, its directory or its file system does not let this process write.
	ErrReadOnly = errors.New("this process may not write the database, or files beside it in its directory")
	// ErrFull says that there is no room for a commit. Nothing was changed, and reads still work.
	ErrFull = errors.New("the disk is full")
	// ErrLocked says that another process did not stop writing for longer than an Update waits.
	ErrLocked = errors.New("another process holds the lock on the database")
)

// code returns SQLite's extended result code of an error, or 0.
func code(err error) int {
	var e *sqlite.Error
	if errors.As(err, &e) {
		return e.Code()
	}
	return 0
}

// primary returns the primary code of an extended one.
func primary(err error) int { return code(err) & 0xff }

// explainedError is an error that explain has returned.
type explainedError struct{ error }

func (e explainedError) Unwrap() error { return e.error }

// explain says what an error of SQLite means to the operator of the program.
func (f *file) explain(err error) error {
	if err == nil || errors.As(err, new(explainedError)) {
		return err
	}
	means := error(nil)
	switch primary(err) {
	case sqlite3.SQLITE_FULL:
		means = ErrFull
	case sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM:
		means = ErrReadOnly
	case sqlite3.SQLITE_CANTOPEN:
		// The main file is there: those beside it cannot be made, unless this process can open nothing at all.
		means = ErrReadOnly
		if d, openErr := os.Open(filepath.Dir(f.path)); openErr != nil {
			means = openErr
		} else {
			d.Close()
		}
	case sqlite3.SQLITE_NOTADB:
		means = ErrForeign
	case sqlite3.SQLITE_CORRUPT:
		means = ErrDamaged
	case sqlite3.SQLITE_BUSY:
		means = ErrLocked
	}
	if means == nil {
		return explainedError{fmt.Errorf("sqlitestore: %s: %w", f.path, err)}
	}
	return explainedError{fmt.Errorf("sqlitestore: %s: %w: %w", f.path, means, err)}
}
