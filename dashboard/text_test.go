package dashboard

import (
	"strings"
	"testing"
	"time"
)

func TestShort(t *testing.T) {
	for d, want := range map[time.Duration]string{
		-time.Second: "0 s", 0: "0 ms", time.Microsecond: "1 ms", 42 * time.Millisecond: "42 ms", 1500 * time.Millisecond: "1.5 s", 59 * time.Second: "59 s",
		73 * time.Second: "1 min 13 s", 2 * time.Minute: "2 min", 12 * time.Minute: "12 min", 65 * time.Minute: "1 h 5 min", 15 * time.Hour: "15 h",
		49 * time.Hour: "2 d 1 h", 400 * 24 * time.Hour: "400 d",
	} {
		if got := short(d); got != want {
			t.Errorf("short(%v) is %q, want %q", d, got, want)
		}
	}
}

func TestCell(t *testing.T) {
	for text, want := range map[string]string{
		"plain":                  `<bdi>plain</bdi>`,
		`<b>"&'`:                 `<bdi>&lt;b&gt;&#34;&amp;&#39;</bdi>`,
		"a\nb":                   `<bdi>a; b</bdi>`,
		"a\u202eb":               `<bdi>a\u202eb</bdi>`,
		"é":                      `<bdi>é</bdi>`,
		"\xff":                   `<bdi>\xff</bdi>`,
		"12345678901":            `<bdi class="long cut" title="12345678901">1234567890…</bdi>`,
		strings.Repeat("é", 200): `<bdi class="long cut" title="` + strings.Repeat("é", 80) + `">` + strings.Repeat("é", 10) + `…</bdi>`,
	} {
		if got := string(cell(10, text)); got != want {
			t.Errorf("cell(10, %q) is\n%s, want\n%s", text, got, want)
		}
	}
}

func TestLineCutsBetweenCharacters(t *testing.T) {
	for limit := range 9 {
		if got := line("äöü€", limit); !strings.HasPrefix("äöü€", got) {
			t.Errorf("line(%d) is %q", limit, got)
		}
	}
}
