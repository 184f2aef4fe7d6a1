package dashboard

import (
	"fmt"
	"html"
	"html/template"
	"net/url"
	"strconv"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/berth-go/berth/internal/plain"
)

// Everything that comes from outside (task IDs, users, labels, branches, the words of git and of clouds) is shown as one line of
// text: control characters and directions of writing are escaped, and long texts are shortened. The whole text is on the page of
// the thing, and in the JSON.

const (
	unbroken  = 16   // bytes of a text that stays on one line
	cellText  = 48   // characters of a text in a table
	titleText = 160  // bytes of the text that shows when one points at it
	wholeText = 8192 // bytes of a text that a page shows as a whole
)

// line returns a text as one line, of about limit bytes at most.
func line(s string, limit int) string {
	if len(s) > limit {
		s = s[:limit]
		for i := 0; i < utf8.UTFMax && len(s) > 0 && !utf8.ValidString(s[max(len(s)-utf8.UTFMax, 0):]); i++ {
			s = s[:len(s)-1]
		}
	}
	for i := range len(s) {
		if s[i] < ' ' || s[i] > '~' {
			return plain.Text(s)
		}
	}
	return s
}

// cut returns the first n characters of a line, and whether there are more.
func cut(s string, n int) (string, bool) {
	for i := range s {
		if n--; n < 0 {
			return s[:i] + "…", true
		}
	}
	return s, false
}

// cell shows a text in at most n characters. A longer one has a title with more of it.
func cell(n int, s string) template.HTML {
	text := line(s, titleText)
	shown, more := cut(text, n)
	if more || len(s) > titleText {
		return template.HTML(`<bdi class="long cut" title="` + html.EscapeString(text) + `">` + breakable(shown) + `</bdi>`)
	}
	if len(shown) > unbroken {
		return template.HTML(`<bdi class="long">` + breakable(shown) + `</bdi>`)
	}
	return template.HTML(`<bdi>` + html.EscapeString(shown) + `</bdi>`)
}

// breakable is the HTML of a text that may go on in the next line after a slash.
func breakable(s string) string { return strings.ReplaceAll(html.EscapeString(s), "/", "/<wbr>") }

// whole shows a text as a whole, unless it is extremely long.
func whole(s string) template.HTML {
	text := html.EscapeString(line(s, wholeText))
	if len(s) > wholeText {
		text += fmt.Sprintf("… (%d bytes in all; api/ has them)", len(s))
	}
	return template.HTML(`<bdi class="whole">` + text + `</bdi>`)
}

// short returns a duration in at most two units.
func short(d time.Duration) string {
	if d >= time.Minute && d < 10*time.Minute {
		return two(int(d.Minutes()), "min", int(d.Seconds())%60, "s")
	}
	return coarse(d)
}

// coarse is short for a time that is relative to now. The script of the pages has the same.
func coarse(d time.Duration) string {
	switch {
	case d < 0:
		return "0 s"
	case d < time.Second:
		return strconv.FormatInt(max(d.Milliseconds(), min(int64(d), 1)), 10) + " ms"
	case d < 10*time.Second:
		return strconv.FormatFloat(d.Seconds(), 'f', 1, 64) + " s"
	case d < time.Minute:
		return strconv.Itoa(int(d.Seconds())) + " s"
	case d < time.Hour:
		return strconv.Itoa(int(d.Minutes())) + " min"
	case d < 24*time.Hour:
		return two(int(d.Hours()), "h", int(d.Minutes())%60, "min")
	}
	return two(int(d.Hours())/24, "d", int(d.Hours())%24, "h")
}

func two(a int, unitA string, b int, unitB string) string {
	s := strconv.Itoa(a) + " " + unitA
	if b > 0 && a < 10 {
		s += " " + strconv.Itoa(b) + " " + unitB
	}
	return s
}

// moment shows a time relative to now, and the absolute one at hand. The script keeps the relative one up to date.
func moment(now, t time.Time) template.HTML {
	if t.IsZero() {
		return `<span class="none">–</span>`
	}
	t = t.UTC()
	d := now.Sub(t)
	word := coarse(d) + " ago"
	switch {
	case d < 0:
		word = "in " + coarse(-d)
	case d < time.Second:
		word = "now"
	}
	return template.HTML(`<time datetime="` + t.Format("2006-01-02T15:04:05.000Z") + `" title="` + t.Format("2006-01-02 15:04:05 UTC") + `">` + word + `</time>`)
}

// seconds is a duration in the JSON.
type seconds time.Duration

// MarshalJSON writes seconds with milliseconds.
func (s seconds) MarshalJSON() ([]byte, error) {
	return []byte(strconv.FormatFloat(time.Duration(s).Seconds(), 'f', 3, 64)), nil
}

// href is a relative URL with parameters, as alternating names and values. Empty values are left out.
func href(path string, params ...string) string {
	v := url.Values{}
	for i := 0; i+1 < len(params); i += 2 {
		if params[i+1] != "" {
			v.Set(params[i], params[i+1])
		}
	}
	if len(v) == 0 {
		return path
	}
	return path + "?" + v.Encode()
}

// longURL bounds the URLs of links, so that long texts of others do not make a page large.
const longURL = 800

// linkTo is a link, or its content alone if the URL would be very long.
func linkTo(to string, content template.HTML) template.HTML {
	if len(to) > longURL {
		return content
	}
	return template.HTML(`<a href="`+html.EscapeString(to)+`">`) + content + `</a>`
}

// plural is a number with its noun.
func plural(n int, one string) string {
	if n == 1 {
		return "1 " + one
	}
	switch {
	case strings.HasSuffix(one, "y"):
		return strconv.Itoa(n) + " " + one[:len(one)-1] + "ies"
	case strings.HasSuffix(one, "ch"):
		return strconv.Itoa(n) + " " + one + "es"
	}
	return strconv.Itoa(n) + " " + one + "s"
}

// money shows US dollars.
func money(usd float64) string {
	switch {
	case usd == 0:
		return "–"
	case usd < 0.01:
		return "< $0.01"
	case usd < 100:
		return "$" + strconv.FormatFloat(usd, 'f', 2, 64)
	}
	return "$" + strconv.FormatFloat(usd, 'f', 0, 64)
}

// percent is a share of a whole, in percent; 0 of 0 is 0.
func percent(part, all float64) int {
	if all <= 0 {
		return 0
	}
	return int(part/all*100 + 0.5)
}
