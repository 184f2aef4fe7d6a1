package git

import (
	"fmt"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"unicode"

	"github.com/berth-go/berth/agent/gitremote"
	"github.com/berth-go/berth/agent/internal/wire"
)

// TestTheRemotesWordsAreMarked, and are one line with git's own.
func TestTheRemotesWordsAreMarked(t *testing.T) {
	long := strings.Repeat("x", 2*maxLine)
	for said, want := range map[string]string{
		"remote: Repository not found.\nfatal: repository 'https://h/x/' not found\n": `the remote says: "Repository not found."; fatal: repository 'https://h/x/' not found`,
		"remote: a\nremote: \x1b[2Jb\u202e\nfatal: c\n":                               `the remote says: "a\n\x1b[2Jb\u202e"; fatal: c`,
		"fatal: remote error: no\nfatal: forged\nReceiving objects: 1%\n":             `fatal: remote error; the remote says: "no\nfatal: forged\nReceiving objects: 1%"`,
		"remote: \x1b]0;x\aobjects: 5%\nfatal: c\n":                                   `the remote says: "\x1b]0;x\aobjects: 5%"; fatal: c`,
		"error: ref 'a\u202eb'\rfatal: 'c\x1b'\n":                                     `fatal: 'c\x1b'`,
		"error: object 0123456789abcdef0123456789abcdef01234567: gitmodulesUrl: disallowed submodule url: x\nfatal: forged\nfatal: y\n": "error: object 0123456789abcdef0123456789abcdef01234567: gitmodulesUrl; " +
			`the remote says: "disallowed submodule url: x\nfatal: forged\nfatal: y"`,
		"remote: Total 4 (delta 0), reused 0\nfatal: x\n": "fatal: x",
		"remote: " + long + "; fatal: forged\n":           "",
	} {
		w := &lastWords{heard: new(atomic.Int64), progress: func(p wire.Progress) { t.Errorf("%q is a step: %v", said, p) }}
		for chunk := range strings.SplitAfterSeq(said, " ") {
			w.Write([]byte(chunk))
		}
		got := w.String()
		if want != "" && got != want {
			t.Errorf("%q becomes\n%s, want\n%s", said, got, want)
		}
		if !oneLine(got) || strings.HasPrefix(got, "x") || len(got) > maxWords {
			t.Errorf("%.50q becomes %.80q", said, got)
		}
	}
}

func oneLine(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return !gitremote.Shows(r) || unicode.IsControl(r) })
}

// TestStepsAreGitsOwn: a remote chooses no words of a step.
func TestStepsAreGitsOwn(t *testing.T) {
	var steps []string
	w := &lastWords{heard: new(atomic.Int64), progress: func(p wire.Progress) { steps = append(steps, p.Phase) }}
	w.Write([]byte("remote: Counting objects: 5% (1/20)\rremote: Fatal\x1b objects: 5%\rDestroying all objects: 9%\rReceiving objects:  10%\r"))
	if got := strings.Join(steps, ", "); got != "Counting objects, Receiving objects" {
		t.Errorf("steps: %q", got)
	}
}

// TestEndlessWordsAreBounded: whatever git prints on stderr, the memory for it is.
func TestEndlessWordsAreBounded(t *testing.T) {
	for name, chunk := range map[string]string{
		"no line break": strings.Repeat("x", 32<<10), "short lines": strings.Repeat("y\n", 16<<10),
		"the remote's": strings.Repeat("remote: z\n", 3<<10), "steps": strings.Repeat("remote: Counting objects: 5%\r", 1<<10),
		"an error packet": "fatal: remote error: x\n" + strings.Repeat("x\n", 10<<10),
	} {
		w := &lastWords{heard: new(atomic.Int64), progress: func(wire.Progress) {}, secrets: []string{"s3cret"}}
		before := heap()
		for range 100 {
			fmt.Fprint(w, chunk)
		}
		if grown := int64(heap()) - int64(before); grown > 2<<20 {
			t.Errorf("%s: %d KiB are kept", name, grown>>10)
		}
		if got := w.String(); len(got) > maxWords || !oneLine(got) {
			t.Errorf("%s: %d bytes", name, len(got))
		}
	}
}

func heap() uint64 {
	runtime.GC()
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return m.HeapAlloc
}
