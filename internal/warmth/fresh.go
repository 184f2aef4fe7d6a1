package warmth

import (
	"time"

	"github.com/berth-go/berth/store"
)

// A purpose is why a Keeper looks after a wish.
type purpose int

const (
	missing purpose = iota // it has no container
	called                 // a host has just called Warm
	aged                   // the mirror of its empty container is old
)

// agedNow reports whether the mirror of a wish's container is to be fetched now, and remembers that: the container is empty, and the last
// fetch that this process knows of was Config.Refresh ago. A container that sessions hold is fetched for them.
func (l *leader) agedNow(c *store.Container, now time.Time) bool {
	if l.cfg.Refresh <= 0 || c == nil || c.State != store.ContainerReady || c.Sessions > 0 {
		return false
	}
	last, known := l.fetched[c.ID]
	if !known {
		last = c.Since
	}
	if now.Sub(last) < l.cfg.Refresh {
		return false
	}
	l.fetched[c.ID] = now
	return true
}
