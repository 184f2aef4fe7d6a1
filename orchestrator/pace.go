package orchestrator

import (
	"sync"
	"time"
)

// pace has the times that the last starts of containers took, without their fetches.
type pace struct {
	mu    sync.Mutex // protects what follows
	times []time.Duration
	next  int // the time that is told next
}

const (
	maxTimes  = 16
	slowest   = 10 * time.Second // a longer time, of an image that was pulled, is told as this
	guessTime = time.Second      // is told while there is none
)

func (p *pace) add(took time.Duration) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.times = append(p.times, min(took, slowest)); len(p.times) > maxTimes {
		p.times = p.times[1:]
	}
}

// StartTime returns the time that a recent start of a container took in this process, without its fetch: each time that of
// another start. It is at most 10 s.
func (p *pace) StartTime() time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.times) == 0 {
		return guessTime
	}
	p.next = (p.next + 1) % len(p.times)
	return p.times[p.next]
}
