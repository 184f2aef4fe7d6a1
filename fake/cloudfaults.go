package fake

import (
	"fmt"
	"math"
	"time"

	"github.com/berth-go/berth/pool"
)

// SetCapacity changes how many machines may be alive at once: further launches fail with pool.ErrCapacity. Machines
// that are there stay. Below 0 there is no limit.
func (c *Cloud) SetCapacity(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < 0 {
		n = math.MaxInt
	}
	c.capacity = n
}

// SetImage makes requests that are prepared from now on differ from those prepared before: the newest image changed.
func (c *Cloud) SetImage(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.image = name
}

// EndAtBoot makes the next n machines end when they should begin to run, for a reason in the cloud's words.
func (c *Cloud) EndAtBoot(n int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range n {
		c.atBoot = append(c.atBoot, reason)
	}
}

// Interrupt ends a machine as a cloud takes back a spot instance, without a notice. id is a launch ID or a cloud ID.
// A machine that has ended stays so.
func (c *Cloud) Interrupt(id string) {
	c.outside(id, func(m *machine, now time.Time) { m.end(now, c.opts.Ending, "Server.SpotInstanceTermination") })
}

// Vanish ends a machine at once, and List does not show it any more once its lag is over. id is a launch ID or a cloud
// ID.
func (c *Cloud) Vanish(id string) {
	c.outside(id, func(m *machine, now time.Time) {
		m.end(now, 0, "vanished")
		m.vanished = true
	})
}

// Stop stops a machine, as an operator or the cloud's maintenance does. It stays stopped until it is terminated. id is
// a launch ID or a cloud ID.
func (c *Cloud) Stop(id string) {
	c.outside(id, func(m *machine, now time.Time) {
		if m.costs(now) {
			m.stopped, m.reason = now, "Server.ScheduledStop"
		}
	})
}

func (c *Cloud) outside(id string, end func(*machine, time.Time)) {
	c.mu.Lock()
	m := c.find(id)
	end(m, time.Now())
	c.mu.Unlock()
	c.gone(m.launch)
}

// FailTerminate makes the termination of one machine fail with err, as termination protection does; nil undoes it.
// id is a launch ID or a cloud ID.
func (c *Cloud) FailTerminate(id string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.find(id).protected = err
}

// IgnoreTerminate makes the next n terminations of a machine succeed without effect. id is a launch ID or a cloud ID.
func (c *Cloud) IgnoreTerminate(id string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.find(id).ignored = n
}

// FailLaunches makes the next n launches fail with err; nothing is started.
func (c *Cloud) FailLaunches(n int, err error) { c.Fail(Launch, n, err) }

// LoseLaunches makes the next n launches start their machine and fail with an error that does not say so.
func (c *Cloud) LoseLaunches(n int) { c.LoseReplies(Launch, n) }

// PlantForeign starts a machine that belongs to somebody else, and returns its cloud ID. No pool may see or end it.
func (c *Cloud) PlantForeign() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foreign++
	return c.add(&machine{launch: fmt.Sprintf("foreign-%d", c.foreign), foreign: true}, time.Now()).cloudID
}

// Heal undoes every fault but those of CloudOptions.Fault, and what has happened to machines.
func (c *Cloud) Heal() {
	c.heal()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.capacity, c.atBoot = c.opts.Capacity, nil
	for _, m := range c.machines {
		m.ignored, m.protected = 0, nil
	}
}

// find returns the machine with a launch ID or a cloud ID. A test that names another one is wrong.
func (c *Cloud) find(id string) *machine {
	if m := c.machines[id]; m != nil {
		return m
	}
	if m := c.byCloud[id]; m != nil {
		return m
	}
	panic(fmt.Sprintf("fake: the cloud never had a machine %q", id))
}

// runs returns the machine that runs with a given address.
func (c *Cloud) runs(address string) (launch string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for _, m := range c.order {
		if m.state(now) == pool.MachineRunning && m.address() == address {
			return m.launch, true
		}
	}
	return "", false
}
