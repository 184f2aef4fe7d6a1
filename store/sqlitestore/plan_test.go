package sqlitestore

import (
	"context"
	"database/sql/driver"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/internal/rows"
)

// TestQueriesUseTheirIndex lets SQLite explain every query: none sorts, and none looks at records in another order than
// that of the index which is made for it.
func TestQueriesUseTheirIndex(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "berth.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	used := map[string]bool{}
	for _, q := range rows.CoarseQuestions(fromIndex) {
		used[q.Index] = true
		for _, line := range explained(t, s, q.SQL, q.Args) {
			index := q.Index
			if index == "" {
				index = "sqlite_autoindex_records_1"
			}
			switch {
			case strings.HasPrefix(line, "SEARCH records USING INDEX "+index+" "):
			case strings.HasPrefix(line, "SCAN records USING INDEX records_room"): // it holds nothing else
			case strings.HasPrefix(line, "MERGE (UNION ALL)"), line == "LEFT", line == "RIGHT":
			default:
				t.Errorf("%s: %s\n%s", q.Name, line, q.SQL)
			}
		}
	}
	for _, x := range rows.Indexes {
		if !used[x.Name] {
			t.Errorf("no query uses index %s", x.Name)
		}
	}
}

// TestWritesUseThePrimaryKey does the same for what Updates are made of.
func TestWritesUseThePrimaryKey(t *testing.T) {
	s, err := Open(t.Context(), filepath.Join(t.TempDir(), "berth.db"))
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close()
	was := rows.ColumnsOf(&store.Session{ID: "a", State: store.SessionActive})
	change, args := update(&rows.Row{Key: store.SessionKey("a"), Was: &was}, nil)
	for sql, args := range map[string][]any{
		change: args, deleteSQL: {1, "a"}, fetchSQL[4]: make([]any, 8), "SELECT body FROM records WHERE kind = ? AND id = ?": {1, "a"},
	} {
		for _, line := range explained(t, s, sql, args) {
			ok := strings.HasPrefix(line, "SEARCH ") && strings.Contains(line, "sqlite_autoindex_records_1 (kind=? AND id=?)") ||
				line == "SCAN 4-ROW VALUES CLAUSE"
			if !ok {
				t.Errorf("%s: %s", sql, line)
			}
		}
	}
}

func explained(t *testing.T, s *Store, sql string, args []any) (lines []string) {
	t.Helper()
	s.writer.mu.Lock()
	defer s.writer.mu.Unlock()
	err := s.writer.c.query(context.Background(), "EXPLAIN QUERY PLAN "+sql, args, func(v []driver.Value) error {
		lines = append(lines, fmt.Sprint(v[3]))
		return nil
	})
	if err != nil {
		t.Fatalf("%s: %v", sql, err)
	}
	if len(lines) == 0 {
		t.Fatalf("%s: no plan", sql)
	}
	return lines
}
