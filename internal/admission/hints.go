package admission

import (
	"sync"

	"github.com/berth-go/berth/store"
)

// hints remembers where the last session of each sharing key was placed. The next transaction that places one names these
// records in advance, so that a database fetches all of them in one round trip. A wrong hint costs a little time.
type hints struct {
	mu   sync.Mutex
	last map[string]hint // by container name
}

type hint struct{ container, instance string }

// maxHints bounds the number of hints.
const maxHints = 4096

// note remembers where a session is.
func (h *hints) note(s *store.Session) {
	if s == nil || s.Container == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.last == nil || len(h.last) >= maxHints {
		h.last = make(map[string]hint)
	}
	h.last[s.ContainerName] = hint{s.Container, s.Instance}
}

// of returns the keys that an attempt to place a session of that container name is likely to use, beside those that every
// attempt uses.
func (h *hints) of(name string, a attempt) []store.Key {
	if len(a.candidates) > 0 {
		return []store.Key{store.ContainerKey(a.newID), store.InstanceKey(a.candidates[0])}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	last, known := h.last[name]
	if !known {
		return nil
	}
	return []store.Key{store.ContainerKey(last.container), store.InstanceKey(last.instance)}
}
