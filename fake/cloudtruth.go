package fake

import (
	"cmp"
	"slices"
	"time"

	"github.com/berth-go/berth/pool"
)

// Machine is a machine as it really is.
type Machine struct {
	pool.Machine
	Foreign bool      // planted by PlantForeign or PlantSibling
	Ended   time.Time // when it stopped costing money; zero = it has not
}

// Machines returns every machine there ever was, as it is now, those that have ended included, by launch time and
// then launch ID.
func (c *Cloud) Machines() []Machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	all := make([]Machine, 0, len(c.machines))
	for _, m := range c.machines {
		shown := Machine{Machine: m.seen(now), Foreign: m.foreign}
		if reached(m.ending, now) {
			shown.Ended = m.ending
		}
		all = append(all, shown)
	}
	slices.SortFunc(all, func(a, b Machine) int {
		return cmp.Or(a.Launched.Compare(b.Launched), cmp.Compare(a.LaunchID, b.LaunchID))
	})
	return all
}

// Launches returns how many machines were started for the pool, as against how often it was asked: see Faults.Calls.
func (c *Cloud) Launches() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.machines) - c.foreign
}

// Alive returns how many machines of the pool cost money now: they are pending, running or stopped.
func (c *Cloud) Alive() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.alive(time.Now())
}

// MaxAlive returns how many machines of the pool cost money at the same time when they were most.
func (c *Cloud) MaxAlive() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.maxAlive
}
