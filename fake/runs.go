package fake

import (
	"slices"
	"sync"
	"time"

	"github.com/berth-go/berth/orchestrator"
)

// runs are the commands that one Provider has started and whose functions have not returned.
type runs struct {
	last bool // no later Provider can find the commands, so they end with this one

	mu       sync.Mutex // protects the fields below; may be taken while a node's mu is held
	commands []*process
	released bool
}

var _ orchestrator.Releaser = engineClient{}

// add adds a command, unless the Provider is closed. A nil receiver counts nothing.
func (r *runs) add(p *process) bool {
	if r == nil {
		return true
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	if !r.released {
		r.commands = append(r.commands, p)
	}
	return !r.released
}

// remove removes a command whose function has returned.
func (r *runs) remove(p *process) {
	if r == nil {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.commands = slices.DeleteFunc(r.commands, func(other *process) bool { return other == p })
}

// The longest time that Release waits for the functions of killed commands. They should return at once.
const (
	idleGrace       = 10 * time.Second
	idleGraceBubble = 24 * time.Hour // in a bubble, waiting takes no time
)

// Release implements orchestrator.Releaser: it kills the commands that no later Provider can find, and returns when the
// functions of all killed commands have returned. In a synctest bubble time stops with the bubble's first goroutine, so
// that a function that sleeps would never return later.
func (c engineClient) Release() {
	r := c.runs
	if r == nil {
		return
	}
	r.mu.Lock()
	r.released = true
	commands := slices.Clone(r.commands)
	r.mu.Unlock()
	grace := time.NewTimer(idleGrace)
	if inBubble() {
		grace.Reset(idleGraceBubble)
	}
	defer grace.Stop()
	for _, p := range commands {
		if r.last {
			p.kill()
		}
		select {
		case <-p.ended:
		default:
			continue // it continues, for the next Provider
		}
		select {
		case <-p.idle:
		case <-grace.C:
			grace.Reset(0) // the others get no more time
		}
	}
}

// inBubble reports whether this goroutine runs in a testing/synctest bubble, where time begins at 2000-01-01.
func inBubble() bool { return time.Now().Year() < 2020 }
