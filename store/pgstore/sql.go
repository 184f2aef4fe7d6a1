package pgstore

import (
	"fmt"
	"strings"

	"github.com/berth-go/berth/store/internal/rows"
)

// statements are those of one schema.
type statements struct {
	schema   string
	prepared map[string]string // by name, on every connection
}

// Names of prepared statements.
const (
	stmtBegin  = "berth_begin"
	stmtLock   = "berth_lock"
	stmtTry    = "berth_try"
	stmtFetch  = "berth_fetch"
	stmtPut    = "berth_put"
	stmtDelete = "berth_delete"
	stmtNotify = "berth_notify"
	stmtCommit = "berth_commit"
	stmtGet    = "berth_get"
	stmtView   = "berth_view"
	stmtAwake  = "berth_awake"
)

// types of the columns in rows.Names.
var types = map[string]string{"room": "integer", "queued": "boolean", "lease_until": "bigint", "ended_at": "bigint"}

func typeOf(column string) string {
	if t, ok := types[column]; ok {
		return t
	}
	return "text"
}

func newStatements(schema string) statements {
	table := schema + ".records"
	columns := append([]string{"kind", "id", "body"}, rows.Names...)
	arrays := []string{"$1::smallint[]", "$2::text[]", "$3::json[]"}
	sets := []string{"body = excluded.body"}
	for i, name := range rows.Names {
		arrays = append(arrays, fmt.Sprintf("$%d::%s[]", i+4, typeOf(name)))
		sets = append(sets, name+" = excluded."+name)
	}
	keys := "unnest($1::smallint[], $2::text[]) AS k (kind, id)"
	return statements{schema, map[string]string{
		stmtBegin: "BEGIN ISOLATION LEVEL READ COMMITTED",
		// One after another, in the order of the array.
		stmtLock: "SELECT count(pg_advisory_xact_lock(h)) FROM unnest($1::bigint[]) AS h",
		stmtTry:  "SELECT pg_try_advisory_xact_lock($1)",
		// The locks are ours already. FOR UPDATE guards against changes by hand.
		stmtFetch: "SELECT r.kind, r.id, r.body FROM " + keys + " JOIN " + table +
			" AS r ON r.kind = k.kind AND r.id = k.id FOR UPDATE OF r",
		stmtPut: "INSERT INTO " + table + " (" + strings.Join(columns, ", ") + ") SELECT * FROM unnest(" +
			strings.Join(arrays, ", ") + ") ON CONFLICT (kind, id) DO UPDATE SET " + strings.Join(sets, ", "),
		stmtDelete: "DELETE FROM " + table + " AS r USING " + keys + " WHERE r.kind = k.kind AND r.id = k.id",
		stmtNotify: "SELECT count(pg_notify($1, payload)) FROM unnest($2::text[]) AS payload",
		stmtCommit: "COMMIT",
		stmtGet:    "SELECT body FROM " + table + " WHERE kind = $1 AND id = $2",
		stmtView:   "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY",
		// The function of a View may take long. As the first query, this statement takes the snapshot.
		stmtAwake: "SELECT set_config('idle_in_transaction_session_timeout', $1, true)",
	}}
}

// SQL returns the statements by which Open makes a schema of that name. If the program may not create schemas, an administrator
// runs them, together with
//
//	GRANT USAGE ON SCHEMA name TO user;
//	GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA name TO user;
//
// and again for each release of berth that needs a newer schema: Open says so.
func SQL(schema string) (string, error) {
	opts, err := Options{Schema: schema}.withDefaults()
	if err != nil {
		return "", err
	}
	return "BEGIN;\nCREATE SCHEMA " + opts.Schema + ";\n" + bootstrap(opts.Schema) + "\n" + steps(opts.Schema, 0) + "COMMIT;\n", nil
}

// bootstrap makes the table that knows the version of the others.
func bootstrap(schema string) string {
	return "CREATE TABLE " + schema + ".version (version integer NOT NULL);\nINSERT INTO " + schema + ".version VALUES (0);"
}

// migrations lead from each version to the next. They are never changed, only added to. %s is the schema.
var migrations = []string{firstTables}

const firstTables = `
CREATE TABLE %[1]s.records (
	kind        smallint NOT NULL,
	id          text COLLATE "C" NOT NULL,
	body        json NOT NULL,
	state       text COLLATE "C",
	task        text COLLATE "C",
	usr         text COLLATE "C",
	repository  text COLLATE "C",
	container   text COLLATE "C",
	instance    text COLLATE "C",
	owner       text COLLATE "C",
	room        integer,
	queued      boolean,
	lease_until bigint,
	ended_at    bigint,
	PRIMARY KEY (kind, id)
) WITH (fillfactor = 90, autovacuum_vacuum_scale_factor = 0.02, autovacuum_vacuum_cost_delay = 0);
CREATE INDEX records_state ON %[1]s.records (kind, state, id) WHERE state IS NOT NULL;
CREATE INDEX records_task ON %[1]s.records (task, state, id) WHERE task IS NOT NULL;
CREATE INDEX records_usr ON %[1]s.records (usr, state, id) WHERE usr IS NOT NULL;
CREATE INDEX records_repository ON %[1]s.records (repository, state, id) WHERE repository IS NOT NULL;
CREATE INDEX records_container ON %[1]s.records (container, state, id) WHERE container IS NOT NULL;
CREATE INDEX records_instance ON %[1]s.records (kind, instance, state, id) WHERE instance IS NOT NULL;
CREATE INDEX records_owner ON %[1]s.records (kind, owner, state, id) WHERE owner IS NOT NULL;
CREATE INDEX records_queued ON %[1]s.records (queued, id) WHERE queued IS NOT NULL;
CREATE INDEX records_room ON %[1]s.records (room, id) WHERE room IS NOT NULL;
CREATE INDEX records_lease_until ON %[1]s.records (lease_until, id) WHERE lease_until IS NOT NULL;
CREATE INDEX records_ended_at ON %[1]s.records (ended_at, id) WHERE ended_at IS NOT NULL;
`

// steps returns the statements that lead from a version to the last one.
func steps(schema string, from int) string {
	var sql strings.Builder
	for _, step := range migrations[from:] {
		fmt.Fprintf(&sql, step, schema)
	}
	fmt.Fprintf(&sql, "UPDATE %s.version SET version = %d;\n", schema, len(migrations))
	return sql.String()
}
