package daemon

import (
	"sync"
	"time"
)

// managers has the clients that use the container.
type managers struct {
	mu    sync.Mutex // protects what follows
	now   map[string]int
	left  map[string]time.Time // when the last connection of a manager ended
	since time.Time            // of the agent's start
}

// enter records that a manager is connected, until leave is called.
func (m *managers) enter(id string) (leave func()) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.now[id]++
	return func() {
		m.mu.Lock()
		defer m.mu.Unlock()
		if m.now[id]--; m.now[id] == 0 {
			delete(m.now, id)
		}
		m.left[id] = time.Now()
		if len(m.left) > 64 {
			m.trim()
		}
	}
}

// trim forgets the manager that left first. The lock is held.
func (m *managers) trim() {
	var oldest string
	for id, at := range m.left {
		if oldest == "" || at.Before(m.left[oldest]) {
			oldest = id
		}
	}
	delete(m.left, oldest)
}

// others returns how many managers other than one are connected, and for how long none of them has been.
func (m *managers) others(but string) (n int, idle time.Duration) {
	m.mu.Lock()
	defer m.mu.Unlock()
	latest := m.since
	for id, at := range m.left {
		if id != but && at.After(latest) {
			latest = at
		}
	}
	for id := range m.now {
		if id != but {
			n++
		}
	}
	if n > 0 {
		return n, 0
	}
	return 0, time.Since(latest)
}

// away returns for how long a manager has not been connected. One that is not known counts as away since the agent's start.
func (m *managers) away(id string) time.Duration {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.now[id] > 0 {
		return 0
	}
	left, ok := m.left[id]
	if !ok {
		left = m.since
	}
	return time.Since(left)
}
