package git

import (
	"bytes"
	"encoding/base64"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/wire"
)

const (
	maxWords = gitremote.MaxWords // of git's stderr that an error holds
	maxPart  = 1 << 10            // of one of git's lines, and of what the remote says without a pause
	maxLine  = 64 << 10           // of a line that has not ended; far more than a secret, which may begin at its end
)

// lastWords parses git's stderr. It passes progress to the function, and keeps the end of the rest. It removes secrets before it
// cuts anything off, since a part of a secret would not be recognised.
type lastWords struct {
	progress func(wire.Progress)
	heard    *atomic.Int64
	secrets  []string
	user     *regexp.Regexp // userPattern of the job's
	line     []byte         // not ended yet
	kept     []words
	size     int  // of all that is kept
	rest     bool // all that follows may be the remote's words: git prints them without an escape, and then ends
	local    bool // git talks to no remote
}

// words are a line of git's, or of the remote's that git has passed on.
type words struct {
	text     string
	ofRemote bool
}

// How git passes on what a remote says: lines of the side band, and an error packet, which may hold line breaks.
const (
	sideBand    = "remote: "
	errorPacket = "fatal: remote error: "
)

// begun is the zero of stamps.
var begun = time.Now()

// stamp returns the time by the monotonic clock, in nanoseconds. A change of the wall clock does not affect it.
func stamp() int64 { return int64(time.Since(begun)) }

func (w *lastWords) Write(p []byte) (int, error) {
	w.heard.Store(stamp())
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
		prefix := ""
		for _, p := range []string{sideBand, errorPacket} {
			if bytes.HasPrefix(w.line, []byte(p)) {
				prefix = p // what is left stays the remote's
			}
		}
		w.line = append([]byte(prefix), cut([]byte(scrub(string(w.line), w.user, w.secrets)))...)
	}
	return len(p), nil
}

func (w *lastWords) take(line string, ended bool) {
	if step, ok := parseProgress(line); ok && !w.rest {
		if w.progress != nil {
			w.progress(step)
		}
		return
	}
	// A line that ends with a carriage return is overwritten on a terminal: it is no message.
	if line = strings.TrimSpace(line); line == "" || !ended || strings.HasPrefix(line, "Cloning into ") {
		return
	}
	said, ofRemote := strings.CutPrefix(line, sideBand)
	if after, ok := strings.CutPrefix(line, errorPacket); ok && !w.rest {
		w.keep(words{text: strings.TrimSuffix(errorPacket, ": ")})
		said, w.rest = after, true
	}
	if id, after, ok := cutFault(line); ok && !w.rest {
		w.keep(words{text: id})
		said, w.rest = after, true
	}
	if ofRemote && strings.HasPrefix(said, "Total ") && strings.Contains(said, " (delta ") {
		return // it is the end of its steps
	}
	said = string(cut([]byte(scrub(said, w.user, w.secrets))))
	w.keep(words{said, ofRemote || w.rest})
}

// cutFault cuts a line about an object that is faulty behind the names of the object and the fault. What follows, also on
// further lines, quotes the object, without an escape.
func cutFault(line string) (fault, quoted string, ok bool) {
	rest, ok := strings.CutPrefix(line, "error: object ")
	id, rest, _ := strings.Cut(rest, ": ")
	name, quoted, _ := strings.Cut(rest, ": ")
	if !ok || !gitremote.IsAbbreviation(id) || strings.Trim(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789") != "" {
		return "", "", false
	}
	return "error: object " + id + ": " + name, quoted, true
}

// keep adds words and forgets the oldest.
func (w *lastWords) keep(add words) {
	w.kept = append(w.kept, add)
	w.size += len(add.text) + 1
	for len(w.kept) > 1 && w.size > maxWords {
		w.size -= len(w.kept[0].text) + 1
		w.kept = w.kept[1:]
	}
}

// cut returns the end of a text.
func cut(text []byte) []byte { return text[max(0, len(text)-maxWords):] }

// String returns the words on one line, with the remote's marked.
func (w *lastWords) String() string {
	w.take(string(w.line), true)
	w.line = nil
	if w.local && len(w.kept) > 1 {
		// Git quotes names of the repository, which may hold line breaks. So no line is surely git's own.
		var lines []string
		for _, said := range w.kept {
			lines = append(lines, said.text)
		}
		return gitremote.Quote("git says", strings.Join(lines, "\n"), 2*maxPart)
	}
	var parts []string
	for end, left := len(w.kept), maxWords; end > 0; {
		begin := end - 1
		for begin > 0 && w.kept[begin].ofRemote && w.kept[begin-1].ofRemote {
			begin--
		}
		part := ""
		if w.kept[begin].ofRemote {
			var lines []string
			for _, said := range w.kept[begin:end] {
				lines = append(lines, said.text)
			}
			part = gitremote.Says(strings.Join(lines, "\n"), maxPart)
		} else {
			part = gitremote.Line(w.kept[begin].text, maxPart)
		}
		if left -= len(part) + 2; left < 0 {
			break
		}
		parts = append(parts, part)
		end = begin
	}
	slices.Reverse(parts)
	return strings.Join(parts, "; ")
}

// phases are those of git's steps, of the remote's and of this side, that are passed on. Others are words like any other: a
// remote chooses the words that stand before its numbers.
var phases = []string{
	"Enumerating objects", "Counting objects", "Compressing objects", "Finding sources", "Getting sizes", "Writing objects",
	"Receiving objects", "Indexing objects", "Resolving deltas", "Unpacking objects", "Checking objects",
	"Checking connectivity", "Checking out files", "Updating files", "Filtering content",
}

// parseProgress understands "Receiving objects:  45% (450/1000), 1.20 MiB | 2.40 MiB/s", the same with "remote: "
// before it, and "remote: Enumerating objects: 1234".
func parseProgress(line string) (wire.Progress, bool) {
	line = strings.TrimPrefix(strings.TrimSpace(line), "remote: ")
	phase, rest, ok := strings.Cut(line, ": ")
	if !ok || !slices.Contains(phases, phase) {
		return wire.Progress{}, false
	}
	rest = strings.TrimSpace(rest)
	digits := 0
	for digits < len(rest) && '0' <= rest[digits] && rest[digits] <= '9' {
		digits++
	}
	if digits == 0 {
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

// Scrub removes secrets from a text, in all the spellings that URLs and headers use, and the userinfo of every URL.
func Scrub(text string, secrets ...string) string {
	for _, secret := range secrets {
		if secret == "" {
			continue
		}
		for _, spelling := range append(inURL(secret), base64.StdEncoding.EncodeToString([]byte(secret))) {
			text = strings.ReplaceAll(text, spelling, "[removed]")
		}
	}
	return userinfo.ReplaceAllString(text, "$1")
}

// inURL returns the spellings of a text in URLs.
func inURL(text string) []string {
	return []string{text, url.QueryEscape(text), url.PathEscape(text), strings.TrimPrefix(url.UserPassword("", text).String(), ":")}
}

// userPattern returns a pattern of a user that stands before the host of a URL, which may have no scheme, with or without a password. A
// user may be a word, such as "git", which is no secret elsewhere. It returns nil if there is no user, or if it is too long to be a word.
func userPattern(user string) *regexp.Regexp {
	if user == "" || len(user) > 100 {
		return nil
	}
	spellings := inURL(user)
	for i, s := range spellings {
		spellings[i] = regexp.QuoteMeta(s)
	}
	return regexp.MustCompile(`(^|[^0-9A-Za-z])(?:` + strings.Join(spellings, "|") + `)(?::[^/@\s'"]*)?@`)
}

// scrub is Scrub, and removes the user of a pattern that is not nil.
func scrub(text string, user *regexp.Regexp, secrets []string) string {
	if user != nil {
		text = user.ReplaceAllString(text, "${1}[removed]@")
	}
	return Scrub(text, secrets...)
}
