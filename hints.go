package berth

import (
	"sync"

	"github.com/berth-go/berth/store"
)

// hints remembers where the sessions of each sharing key were placed last: the next transaction that places one names
// these records beforehand, so that a database fetches all it needs in one round trip. A wrong hint costs a little time.
type hints struct {
	mu    sync.Mutex
	where map[string]where // by container name
}

type where struct{ container, instance string }

// mostHints bounds what is remembered.
const mostHints = 4096

// placed notes where a session is.
func (h *hints) placed(s *store.Session) {
	if s == nil || s.Container == "" {
		return
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.where == nil || len(h.where) >= mostHints {
		h.where = make(map[string]where)
	}
	h.where[s.ContainerName] = where{s.Container, s.Instance}
}

// of returns the keys, beside those that are always used, that placing a session of that container name is likely to
// use. newID is the ID of the container that may be made on one of the candidates.
func (h *hints) of(name string, candidates []string, newID string) []store.Key {
	if len(candidates) > 0 {
		return []store.Key{store.ContainerKey(newID), store.InstanceKey(candidates[0])}
	}
	h.mu.Lock()
	defer h.mu.Unlock()
	last, known := h.where[name]
	if !known {
		return nil
	}
	return []store.Key{store.ContainerKey(last.container), store.InstanceKey(last.instance)}
}
