package telemetry

import (
	"sync"

	"github.com/berth-go/berth/naming"
)

// otherRepositories is the attribute of the repositories that metrics do not name.
const otherRepositories = "_OTHER"

// changesPerName bounds how often the repositories that metrics name change: the values of the attribute that a process ever
// tells are at most so many times those that it tells at once. An SDK keeps each of them.
const changesPerName = 4

// repositories chooses which repositories metrics name: those with the most starts of sessions. It counts a bounded number of
// repositories: one that is not counted takes the place, and the count, of the one with the fewest starts.
type repositories struct {
	most int // 0 = none is named

	mu      sync.Mutex // protects what follows
	starts  map[naming.Repository]int
	named   map[naming.Repository]string
	changes int // how often a name has been given
}

func newRepositories(most int) *repositories {
	return &repositories{most: most, starts: make(map[naming.Repository]int), named: make(map[naming.Repository]string)}
}

// name returns the attribute of a repository, and counts a start of a session on it. "" = metrics have no such attribute.
func (r *repositories) name(of naming.Repository, start bool) string {
	if r.most <= 0 {
		return ""
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if start {
		r.count(of)
		r.rise(of)
	}
	if name, ok := r.named[of]; ok {
		return name
	}
	return otherRepositories
}

func (r *repositories) count(of naming.Repository) {
	if _, known := r.starts[of]; !known && len(r.starts) >= changesPerName*r.most {
		least, n := naming.Repository{}, 0
		for other, starts := range r.starts {
			if _, named := r.named[other]; !named && (n == 0 || starts < n) {
				least, n = other, starts
			}
		}
		delete(r.starts, least)
		r.starts[of] = n
	}
	r.starts[of]++
}

// rise names a repository if a name is free, or if it has twice the starts of one that has a name.
func (r *repositories) rise(of naming.Repository) {
	if _, named := r.named[of]; named || r.changes >= changesPerName*r.most {
		return
	}
	if len(r.named) >= r.most {
		var least naming.Repository
		n := 0
		for other := range r.named {
			if starts := r.starts[other]; n == 0 || starts < n {
				least, n = other, starts
			}
		}
		if r.starts[of] < 2*n {
			return
		}
		delete(r.named, least)
	}
	r.named[of] = of.String()
	r.changes++
}
