package snapshot_test

import (
	"strings"
	"testing"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/snapshot"
)

// TestASessionForgesNoHeader: the program that packs runs under the session's uid, so that the session may say in its place what it likes.
func TestASessionForgesNoHeader(t *testing.T) {
	store := fake.NewSnapshots(fake.SnapshotOptions{Latency: -1})
	id := snapshot.Owner{User: "u"}.ID("monday")
	for name, c := range map[string]struct {
		head string
		ok   bool
	}{
		"a commit":          {`{"version":1,"commit":"` + strings.Repeat("a1", 20) + `","files":1,"bytes":2}`, true},
		"none":              {`{"version":1,"files":1,"bytes":2}`, true},
		"an option of git":  {`{"version":1,"commit":"--upload-pack=x"}`, false},
		"a second line":     {`{"version":1,"commit":"a1\nlevel=ERROR"}`, false},
		"a negative number": {`{"version":1,"bytes":-5}`, false},
		"no JSON":           {"\x1b[2J", false},
		"no end":            {strings.Repeat("x", 1<<20), false},
	} {
		header := snapshot.Header{Name: "monday", User: "u"}
		_, err := snapshot.Put(t.Context(), store, strings.NewReader(c.head+"\nrest"), snapshot.Of(id), &header)
		if (err == nil) != c.ok || err != nil && strings.ContainsAny(err.Error(), "\n\x1b") {
			t.Errorf("%s: %v", name, err)
		}
	}
}
