package naming_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/berth-go/berth/naming"
)

func TestValidateTaskID(t *testing.T) {
	for _, id := range []string{
		"1", "task-42", "Task", "3f2b9c1e-8d0a-4f6e-9b7a-1c2d3e4f5a6b", "jira:ABC-12", "run@2026-08-01T10:00:00", "a..b", "dGFzaw==", "1.5+rc_2",
		"con1", "console", "com", "com10", "lptx", strings.Repeat("x", naming.MaxTaskIDLen),
	} {
		if err := naming.ValidateTaskID(id); err != nil {
			t.Errorf("%q: %v", id, err)
		}
	}
	for _, id := range []string{
		"", "/etc", "a/b", "a/", "..", ".", ".hidden", "-rf", "~root", "_a", ":a", "a b", "a\tb", "a\x7fb", "a\\b", "a$b", "a;b", "a'b", "a*", "caf\u00e9", "a\xff",
		"CON", "nul", "Aux.txt", "COM1", "lpt9.log", strings.Repeat("x", naming.MaxTaskIDLen+1),
	} {
		if err := naming.ValidateTaskID(id); !errors.Is(err, naming.ErrInvalid) {
			t.Errorf("%q: got %v, want ErrInvalid", id, err)
		}
	}
}
