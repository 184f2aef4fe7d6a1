package proc

import (
	"bufio"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"sync"
)

// marks hands out group numbers. A user namespace has few numbers, so they are used again, but not while a process carries
// them.
type marks struct {
	first, last int

	mu   *sync.Mutex // protects what follows
	at   int
	busy map[int]bool // carried by a process when the numbers last started over
}

// newMarks chooses the range: far above all real groups, or the part of the user namespace above the sessions' groups.
func newMarks() marks {
	m := marks{first: 1 << 20, last: 1<<31 - 2, mu: new(sync.Mutex)}
	if !mapped(m.first, m.last) {
		m.first, m.last = 60001, 65533
	}
	// Two programs that see the same processes, as in tests, hardly ever use the same marks.
	m.at = m.first + rand.IntN(m.last-m.first)
	return m
}

func (m *marks) next() (int, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for range m.last - m.first + 1 {
		if m.at++; m.at > m.last {
			m.at = m.first
			m.busy = carried()
		}
		if !m.busy[m.at] {
			return m.at, nil
		}
	}
	return 0, errors.New("too many commands have left processes behind")
}

// carried returns the groups that processes have now.
func carried() map[int]bool {
	busy := make(map[int]bool)
	each(func(p info) {
		for _, g := range p.groups {
			busy[g] = true
		}
	})
	return busy
}

// mapped reports whether all of first to last are groups of this user namespace.
func mapped(first, last int) bool {
	f, err := os.Open("/proc/self/gid_map")
	if err != nil {
		return false
	}
	defer f.Close()
	for s := bufio.NewScanner(f); s.Scan(); {
		var inside, outside, count int
		if n, _ := fmt.Sscan(s.Text(), &inside, &outside, &count); n == 3 && inside <= first && last < inside+count {
			return true
		}
	}
	return false
}
