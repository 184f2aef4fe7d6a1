package gitremote

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"unicode"
	"unicode/utf8"
)

// MaxWords is the largest length in bytes of the words of git or a remote in an error.
const MaxWords = 4 << 10

// Line returns a text of at most limit bytes as one line that shows as itself. Control characters, terminal sequences, direction
// overrides, characters of no width and bytes that are not UTF-8 are escaped as in a Go string ("\x1b", "\u202e"). Line breaks
// become "; ", and a tab becomes a blank. A longer text is cut at its end, which "…" then marks. Line(Line(s)) is Line(s).
func Line(text string, limit int) string {
	text = strings.Trim(text, "\r\n")
	var b strings.Builder
	broken := false
	for i := 0; i < len(text) && b.Len() <= limit; {
		r, size := utf8.DecodeRuneInString(text[i:])
		bytes := text[i : i+size]
		i += size
		if r == '\n' || r == '\r' {
			broken = true
			continue
		}
		if broken {
			b.WriteString("; ")
			broken = false
		}
		switch {
		case r == '\t':
			b.WriteByte(' ')
		case r == utf8.RuneError && size == 1:
			fmt.Fprintf(&b, `\x%02x`, bytes[0])
		case Shows(r):
			b.WriteString(bytes)
		default:
			quoted := strconv.QuoteToASCII(bytes)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
	}
	return cutLine(b.String(), limit)
}

// Shows reports whether a character shows as itself, and changes nothing about the characters around it.
func Shows(r rune) bool {
	return unicode.IsPrint(r) && !unicode.Is(unicode.Variation_Selector, r) && !unicode.Is(unicode.Other_Default_Ignorable_Code_Point, r)
}

// cutLine cuts a text to at most limit bytes, and marks the cut. An escape that it cuts stays cut.
func cutLine(text string, limit int) string {
	const mark = "…"
	if len(text) <= limit {
		return text
	}
	end := max(limit-len(mark), 0)
	for end > 0 && !utf8.RuneStart(text[end]) {
		end--
	}
	return text[:end] + mark
}

// says marks the words of a remote in an error.
const says = "the remote says"

// Says returns words of a remote in at most limit bytes, as an error shows them: on one line, marked as the remote's, and
// quoted as a Go string, so that they cannot end the quotation. Line leaves the result as it is. Passing does not heed it.
func Says(words string, limit int) string { return Quote(says, words, limit) }

// Quote does the same for the words of somebody else: `git says: "..."`.
func Quote(who, words string, limit int) string {
	const end, cut = `"`, `…"`
	var b strings.Builder
	b.WriteString(who + `: "`)
	for _, r := range strings.TrimSpace(words) { // a byte that is not UTF-8 is U+FFFD, which shows
		before := b.Len()
		switch {
		case r == '"' || r == '\\':
			b.WriteByte('\\')
			b.WriteRune(r)
		case Shows(r):
			b.WriteRune(r)
		default:
			quoted := strconv.QuoteRuneToASCII(r)
			b.WriteString(quoted[1 : len(quoted)-1])
		}
		if b.Len() > limit-len(cut) {
			return b.String()[:before] + cut
		}
	}
	return b.String() + end
}

// said matches what Says returns.
var said = regexp.MustCompile(says + `: "(?:[^"\\]|\\.)*(?:"|$)`)
