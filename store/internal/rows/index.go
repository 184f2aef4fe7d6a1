package rows

import (
	"slices"
	"strings"

	"github.com/berth-go/berth/store"
)

// Index is one that the queries need.
type Index struct {
	Name    string
	Columns []string
}

// Where is the condition of a record that the index holds.
func (x Index) Where() string {
	column := x.Columns[0]
	if column == "kind" {
		column = x.Columns[1]
	}
	return column + " IS NOT NULL"
}

// Indexes are all that the queries use beside the primary key (kind, id).
var Indexes = []Index{
	{"records_state", []string{"kind", "state", "id"}},
	{"records_task", []string{"task", "state", "id"}},
	{"records_usr", []string{"usr", "state", "id"}},
	{"records_repository", []string{"repository", "state", "id"}},
	{"records_container", []string{"container", "state", "id"}},
	{"records_instance", []string{"kind", "instance", "state", "id"}},
	{"records_owner", []string{"kind", "owner", "state", "id"}},
	{"records_queued", []string{"queued", "id"}},
	{"records_room", []string{"room", "id"}},
	{"records_lease_until", []string{"lease_until", "id"}},
	{"records_ended_at", []string{"ended_at", "id"}},
}

// CoarseIndexes are Indexes for a database that writes an entry anew only when a column of its index is set. Those of
// them that tell few records of one value apart by their state tell only whether that is ended, in one more column: see
// [Columns.Ended]. So most entries of a session stay where they are until it ends.
func CoarseIndexes() []Index {
	all := slices.Clone(Indexes)
	for i, x := range all {
		if isCoarse(x.Name) {
			all[i].Columns = slices.Clone(x.Columns)
			all[i].Columns[slices.Index(x.Columns, "state")] = "ended"
		}
	}
	return all
}

// isCoarse reports whether an index is another one among CoarseIndexes. Of those by state and by owner it is a few in one
// state among very many that are looked for.
func isCoarse(index string) bool {
	switch strings.TrimPrefix(index, "records_") {
	case "task", "usr", "repository", "container", "instance":
		return true
	}
	return false
}

// Ended is the value of column "ended", which stands beside the CoarseIndexes: whether the state is ended, or nil.
func (c *Columns) Ended() any {
	if !c.HasState {
		return nil
	}
	return c.State == string(store.SessionEnded)
}

// endedColumns returns the values of column "ended" that go with some states.
func endedColumns(states []string) (values []string) {
	if slices.ContainsFunc(states, func(s string) bool { return s != string(store.SessionEnded) }) {
		values = append(values, "FALSE")
	}
	if slices.Contains(states, string(store.SessionEnded)) {
		values = append(values, "TRUE")
	}
	return values
}
