package gitremote

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestLine(t *testing.T) {
	for text, want := range map[string]string{
		"":                              "",
		"fatal: no":                     "fatal: no",
		"a\nb\r\n\nc\n":                 "a; b; c",
		"a\tb":                          "a b",
		"\x1b[31mred\x1b[0m":            `\x1b[31mred\x1b[0m`,
		"bell\a, C1 \u009b31m, DEL\x7f": `bell\a, C1 \u009b31m, DEL\x7f`,
		"\u202egnp.exe\u2066":           `\u202egnp.exe\u2066`,
		"a\u200bb\u200d\ufeff":          `a\u200bb\u200d\ufeff`,
		"line\u2028sep\u2029":           `line\u2028sep\u2029`,
		"not \xff UTF-8":                `not \xff UTF-8`,
		"tag \U000E0041, \ufe0f\u115f":  `tag \U000e0041, \ufe0f\u115f`,
		"naïve 日本 \\n":                  "naïve 日本 \\n",
	} {
		got := Line(text, 1000)
		if got != want {
			t.Errorf("Line(%q) = %q, want %q", text, got, want)
		}
		if again := Line(got, 1000); again != got {
			t.Errorf("Line changes its own result, %q, to %q", got, again)
		}
	}
	if got := Line(strings.Repeat("日", 100), 20); got != "日日日日日…" {
		t.Errorf("cut: %q", got)
	}
}

func TestSays(t *testing.T) {
	for words, want := range map[string]string{
		"Repository not found.":              `the remote says: "Repository not found."`,
		"x\"; fatal: forged":                 `the remote says: "x\"; fatal: forged"`,
		"x\\\"\nfatal: forged\x1b]0;t\u202e": `the remote says: "x\\\"\nfatal: forged\x1b]0;t\u202e"`,
	} {
		got := Says(words, 1000)
		if got != want || Line(got, 1000) != got {
			t.Errorf("Says(%q) = %s, want %s", words, got, want)
		}
		if rest := said.ReplaceAllString(got+"; fatal: x", ""); rest != "; fatal: x" {
			t.Errorf("of %s there is left: %s", got, rest)
		}
	}
}

// FuzzLine: whatever is said, it is one line of bounded length, and nothing in it acts on a terminal.
func FuzzLine(f *testing.F) {
	for _, s := range []string{"a\nb", "\x1b]8;;http://x\x07y", "\u202e\u2066\u200b\u0085", "\xff\xfe", "\"\\", strings.Repeat("\x00", 100)} {
		f.Add(s, 64)
	}
	f.Fuzz(func(t *testing.T, s string, limit int) {
		limit = max(8, min(limit, 10000))
		line := Line(s, limit)
		if len(line) > limit {
			t.Errorf("%d bytes, of at most %d", len(line), limit)
		}
		for _, shown := range []string{line, Says(s, limit+30)} {
			if !utf8.ValidString(shown) {
				t.Errorf("not UTF-8: %q", shown)
			}
			for _, r := range shown {
				if !Shows(r) {
					t.Errorf("%U is in %q", r, shown)
				}
			}
		}
		if Line(line, limit) != line {
			t.Errorf("Line changes its own result %q", line)
		}
		if n := len(Says(s, limit+30)); n > limit+30 {
			t.Errorf("%d bytes", n)
		}
	})
}
