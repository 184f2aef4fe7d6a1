package pgstore

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5/pgconn"

	"github.com/berth-go/berth/store"
)

// States that this package looks at. See PostgreSQL's manual, appendix A.
const (
	readOnly              = "25006"
	idleInTransaction     = "25P03"
	unknownStatement      = "26000"
	invalidPassword       = "28P01"
	invalidAuthorization  = "28000"
	unknownDatabase       = "3D000"
	invalidSchemaName     = "3F000"
	serializationFailure  = "40001"
	deadlock              = "40P01"
	insufficientPrivilege = "42501"
	undefinedTable        = "42P01"
	stalePlan             = "0A000"
	diskFull              = "53100"
	outOfMemory           = "53200"
	tooManyConnections    = "53300"
	lockNotAvailable      = "55P03"
	queryCanceled         = "57014"
)

// ErrNewerSchema says that a newer release of berth has upgraded the tables, and this one cannot use them.
var ErrNewerSchema = errors.New("a newer release of berth has upgraded it, so upgrade this program too")

var errStandby = errors.New("pgstore: the server is a standby, which takes no writes: connect to the primary, " +
	"or name all servers in the connection string and add target_session_attrs=read-write")

// advice says what to do about an error of the server.
var advice = map[string]string{
	readOnly:              "the server takes no writes, for it is a standby or set to read only: connect to the primary, or name all servers in the connection string and add target_session_attrs=read-write",
	invalidPassword:       "the server refuses the user or the password: see the connection string",
	invalidAuthorization:  "the server refuses the user: see the connection string and the server's pg_hba.conf",
	unknownDatabase:       "make the database, with ENCODING 'UTF8', or name another in the connection string",
	insufficientPrivilege: "GRANT the user USAGE on the schema, and SELECT, INSERT, UPDATE and DELETE on its tables",
	undefinedTable:        "the tables are gone; Open makes them",
	diskFull:              "the server's disk is full, nothing was written: make room there",
	outOfMemory:           "the server is out of memory, or of entries in its lock table: raise its max_locks_per_transaction",
	tooManyConnections:    "the server has no connection left: raise its max_connections, or lower pool_max_conns in the connection strings of its clients",
	queryCanceled:         "the server cancelled a statement: raise statement_timeout, if it is set for this user",
}

// explain adds the step that failed, and what to do about the server.
func explain(doing string, err error) error {
	if err == nil || strings.HasPrefix(err.Error(), "pgstore: ") {
		return err
	}
	if hint, ok := advice[state(err)]; ok {
		return fmt.Errorf("pgstore: %s: %s: %w", doing, hint, err)
	}
	return fmt.Errorf("pgstore: %s: %w", doing, err)
}

// Sorts of errors before a COMMIT was sent: nothing was changed.
type sort int

const (
	lasting   sort = iota // it will be so again
	conflict              // another transaction was in the way: the same may be tried at once
	transient             // the server or the way to it is gone: the same may be tried a little later
)

func sortOf(err error) sort {
	if errors.Is(err, context.Canceled) || errors.Is(err, store.ErrClosed) {
		return lasting
	}
	code := state(err)
	switch {
	case code == serializationFailure, code == deadlock, code == lockNotAvailable, code == outOfMemory:
		return conflict // or the lock table is full, of which others give back their part
	case code == "": // no word of the server
		return transient
	case strings.HasPrefix(code, "08"), strings.HasPrefix(code, "57P"), code == idleInTransaction, code == "25P04",
		code == unknownStatement, code == stalePlan, code == tooManyConnections:
		return transient
	}
	return lasting
}

// fatal reports whether the server has ended the connection with this error.
func fatal(err error) bool {
	e, ok := errors.AsType[*pgconn.PgError](err)
	return !ok || e.SeverityUnlocalized != "ERROR" && e.Severity != "ERROR"
}
