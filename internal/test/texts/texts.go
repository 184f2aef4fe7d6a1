// Package texts has texts that are dangerous in a line of a log, on a terminal, in a database or in a path, and checks that nothing which
// berth says is forged by them.
package texts

import (
	"fmt"
	"strings"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/internal/test/world"
)

// IsLine reports whether a text is one line that shows as itself.
func IsLine(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !gitremote.Shows(r) })
}

// Evil are texts that are dangerous in a line of a log, on a terminal, in a database or in a path.
var Evil = []string{
	"", "x\x1b[2J", "x\nlevel=ERROR msg=forged", "\u202ex\u2066", "a\u200bb", "\u0085\u009b31m", "\xff\xfe", "x\x00", "../../x", "-x", "$(id)", `a'"b`,
	"https://u:p\x1b@h.example/o/r", strings.Repeat("x", 300),
}

// Check checks the events and the log of a world.
func Check(t *testing.T, w *world.World) {
	t.Helper()
	CheckEvents(t, w.Events())
	CheckLog(t, w.LogText())
}

// CheckEvents checks the texts of events.
func CheckEvents(t *testing.T, events []berth.Event) {
	t.Helper()
	for _, e := range events {
		texts := []string{e.Message, e.TaskID, e.UserID, e.Container, e.Repository.String(), fmt.Sprint(e.Err)}
		for _, text := range texts {
			if !IsLine(text) {
				t.Errorf("an event has %q", text)
			}
		}
	}
}

// CheckLog checks that each line of a log is one that slog has written.
func CheckLog(t *testing.T, text string) {
	t.Helper()
	for line := range strings.Lines(text) {
		if line = strings.TrimSuffix(line, "\n"); !IsLine(line) || !strings.HasPrefix(line, "time=") {
			t.Errorf("the log has %q", line)
		}
	}
}
