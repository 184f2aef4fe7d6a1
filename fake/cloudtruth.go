package fake

import (
	"cmp"
	"slices"
	"time"

	"github.com/berth-go/berth/pool"
)

// Machine is the real state of a machine.
type Machine struct {
	pool.Machine
	Foreign bool      // planted by PlantForeign or PlantSibling
	Ended   time.Time // when it stopped costing money; zero = it still does
}

// Machines returns the present state of every machine that was ever started, including those that have ended, sorted by
// launch time and then launch ID.
func (c *Cloud) Machines() []Machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	all := make([]Machine, 0, len(c.fleet.byLaunch))
	for _, m := range c.fleet.byLaunch {
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

// Launches returns how many machines were started for the pool. Faults.Calls counts the calls of Launch.
func (c *Cloud) Launches() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return len(c.fleet.byLaunch) - c.foreign
}

// Alive returns how many machines of the pool cost money now, because they are pending, running or stopped.
func (c *Cloud) Alive() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.fleet.alive(time.Now())
}

// MaxAlive returns the largest number of machines of the pool that cost money at the same time.
func (c *Cloud) MaxAlive() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.maxAlive
}
