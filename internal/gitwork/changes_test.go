package gitwork

import (
	"strings"
	"testing"
)

// FuzzChanges: a session can put a git of its own in its PATH, and have it say what it likes. The answer is bounded, or an error of one line.
func FuzzChanges(f *testing.F) {
	for _, seed := range []string{
		"", "\x00", "1", "1 ", "2 R. ", "u UU", "# branch.oid", "# branch.oid (initial)\x00# branch.head main\x00? a b\x00",
		"1 .M N... 100644 100644 100644 a b c d\x00", "2 R. N... 100644 100644 100644 a b R100 new\x00old\x00",
		"commits\x00a 1 n\nsubject\x00a x n\x00stashes\x00one\x00", "\x1b[2J\n\u202e", strings.Repeat("? x\x00", 20_000),
		"commits\x00" + strings.Repeat("a 1 n\n\x00", 2000) + "stashes\x00" + strings.Repeat("s\x00", 200),
	} {
		f.Add(seed, false)
		f.Add(seed, true)
	}
	f.Fuzz(func(t *testing.T, text string, cut bool) {
		if cut && text == "" {
			return // nothing is cut
		}
		c, err := parseChanges(text, cut)
		if err != nil && strings.ContainsAny(err.Error(), "\n\x1b\u202e") {
			t.Errorf("%q", err)
		}
		if len(c.Files) > maxFiles || len(c.Unpushed) > maxCommits || len(c.Stashes) > maxStashes {
			t.Errorf("%d files, %d commits, %d stashes", len(c.Files), len(c.Unpushed), len(c.Stashes))
		}
	})
}
