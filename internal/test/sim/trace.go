package sim

import (
	"bytes"
	"errors"
	"fmt"
	"hash/fnv"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth"
)

// trace holds the events of a run, and counts the rare ones.
type trace struct {
	mu    sync.Mutex // protects the fields below
	lines []string
	seen  map[string]int
	log   logBuffer
}

func newTrace() *trace { return &trace{seen: make(map[string]int)} }

var epoch = time.Date(2000, 1, 1, 0, 0, 0, 0, time.UTC)

func (t *trace) add(format string, args ...any) {
	line := fmt.Sprintf("%v ", time.Since(epoch)) + fmt.Sprintf(format, args...)
	t.mu.Lock()
	defer t.mu.Unlock()
	t.lines = append(t.lines, line)
}

// saw counts an event that should happen in some of the runs.
func (t *trace) saw(what string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.seen[what]++
}

const eventWithSecret = "an event holds a secret"

func (t *trace) event(e berth.Event) {
	if text := fmt.Sprintf("%+v", e); strings.Contains(text, secret) {
		t.saw(eventWithSecret)
	}
	t.add("%s %s %s %s %s %v", e.Type, e.TaskID, e.SessionID, e.Container, e.Message, e.Err)
	switch {
	case e.Type == berth.EventSessionActive:
		t.saw("start " + string(e.Start))
	case e.Type == berth.EventSessionEnded && e.Err != nil:
		t.saw("end: " + reason(e.Err))
	case e.Type != berth.EventProgress && e.Type != berth.EventSessionPlaced:
		t.saw(string(e.Type))
	}
}

// reason returns the class of an error that ended a session.
func reason(err error) string {
	if failure, ok := errors.AsType[*berth.StartError](err); ok {
		return "failed while " + failure.Phase
	}
	for _, known := range []error{berth.ErrTerminated, berth.ErrExpired, berth.ErrContainerLost, berth.ErrInstanceLost, berth.ErrRevoked, berth.ErrOverLimit} {
		if errors.Is(err, known) {
			return known.Error()
		}
	}
	return "unknown"
}

func (t *trace) counts() map[string]int {
	t.mu.Lock()
	defer t.mu.Unlock()
	return maps.Clone(t.seen)
}

// hash returns a hash of all events and their times.
func (t *trace) hash() uint64 {
	t.mu.Lock()
	defer t.mu.Unlock()
	h := fnv.New64a()
	for _, l := range t.lines {
		h.Write([]byte(l))
	}
	return h.Sum64()
}

// tail returns the last events.
func (t *trace) tail(n int) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.Join(t.lines[max(len(t.lines)-n, 0):], "\n")
}

// logBuffer receives the library's log.
type logBuffer struct {
	mu     sync.Mutex // protects buffer
	buffer bytes.Buffer
}

func (b *logBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.Write(p)
}

func (b *logBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.buffer.String()
}
