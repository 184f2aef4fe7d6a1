package git

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent/internal/wire"
)

const (
	maxWords = 4 << 10  // of git's stderr that an error holds
	maxLine  = 64 << 10 // of a line that has not ended: far more than a secret, whose beginning may be its end
)

// lastWords takes git's stderr apart: progress goes to the function, the rest is kept, as far as it fits. Secrets are
// removed before anything is cut off: of one that is cut through, nobody would know what is left.
type lastWords struct {
	progress func(wire.Progress)
	heard    *atomic.Int64
	secrets  []string
	line     []byte // not ended yet
	kept     []byte
}

func (w *lastWords) Write(p []byte) (int, error) {
	w.heard.Store(time.Now().UnixNano())
	w.line = append(w.line, p...)
	for {
		i := bytes.IndexAny(w.line, "\r\n")
		if i < 0 {
			break
		}
		w.take(string(w.line[:i]), w.line[i] == '\n')
		w.line = w.line[i+1:]
	}
	if len(w.line) > maxLine {
		w.line = cut([]byte(Scrub(string(w.line), w.secrets...)))
	}
	return len(p), nil
}

func (w *lastWords) take(line string, ended bool) {
	if step, ok := parseProgress(line); ok {
		if w.progress != nil {
			w.progress(step)
		}
		return
	}
	// What ends with a carriage return is overwritten on a terminal: it is no message.
	if line = strings.TrimSpace(line); line == "" || !ended || strings.HasPrefix(line, "Cloning into ") {
		return
	}
	w.kept = cut(append(append(w.kept, Scrub(line, w.secrets...)...), '\n'))
}

// cut leaves the end of a text.
func cut(text []byte) []byte { return text[max(0, len(text)-maxWords):] }

func (w *lastWords) String() string {
	w.take(string(w.line), true)
	w.line = nil
	return strings.ToValidUTF8(strings.TrimSpace(string(w.kept)), "�")
}

// parseProgress understands "Receiving objects:  45% (450/1000), 1.20 MiB | 2.40 MiB/s", the same with "remote: "
// before it, and "remote: Enumerating objects: 1234".
func parseProgress(line string) (wire.Progress, bool) {
	line = strings.TrimPrefix(strings.TrimSpace(line), "remote: ")
	phase, rest, ok := strings.Cut(line, ": ")
	if !ok || phase == "" || strings.Contains(phase, ":") {
		return wire.Progress{}, false
	}
	rest = strings.TrimSpace(rest)
	digits := 0
	for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
		digits++
	}
	if digits == 0 || !strings.HasSuffix(phase, "ing objects") && !strings.HasSuffix(phase, "ing deltas") &&
		!strings.HasSuffix(phase, "ing files") && phase != "Checking connectivity" {
		return wire.Progress{}, false
	}
	step := wire.Progress{Phase: phase, Percent: -1}
	if digits < len(rest) && rest[digits] == '%' {
		if percent, err := strconv.Atoi(rest[:digits]); err == nil && percent <= 100 {
			step.Percent = percent
		}
	}
	return step, true
}

var userinfo = regexp.MustCompile(`([a-zA-Z][a-zA-Z0-9+.-]*://)[^/@\s'"]*@`)

// Scrub removes the secrets from a text, however a URL or a header would spell them, and the userinfo of any URL.
func Scrub(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		for _, spelling := range []string{
			secret, url.QueryEscape(secret), url.PathEscape(secret),
			strings.TrimPrefix(url.UserPassword("", secret).String(), ":"),
			base64.StdEncoding.EncodeToString([]byte(secret)),
		} {
			text = strings.ReplaceAll(text, spelling, "[removed]")
		}
	}
	return userinfo.ReplaceAllString(text, "$1")
}
