package fake

import (
	"fmt"
	"math"
	"slices"
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

// SetGeneration changes what Generation says from now on.
func (c *Cloud) SetGeneration(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version = name
}

// SetConsole makes Explain return a text for a machine. id is a launch ID or a cloud ID.
func (c *Cloud) SetConsole(id, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.find(id).console = text
}

// Refuse makes every call fail with err before it has an effect, as a cloud does when credentials have expired; nil
// undoes it.
func (c *Cloud) Refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = err
}

// Foretell makes List show an outlook of a machine that runs, from now on and as late as it shows everything. id is a
// launch ID or a cloud ID.
func (c *Cloud) Foretell(id string, o pool.Outlook, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.find(id)
	m.outlook = append(m.outlook, forecast{time.Now(), o, reason})
}

// Reclaim takes back a spot machine with a notice: it is foretold at once that the machine will be interrupted, and it
// ends after a time, which is two minutes on EC2. A machine that has ended stays so. id is a launch ID or a cloud ID.
func (c *Cloud) Reclaim(id string, after time.Duration) {
	c.Foretell(id, pool.OutlookInterrupted, "Server.SpotInstanceInterruption")
	time.AfterFunc(after, func() { c.Interrupt(id) })
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

// Move gives a machine another address, which no machine may have. At the old one it does not answer any more, and
// another machine may get that. What is on the machine goes on, but whoever reached it at the old address cannot: calls
// to its engine fail, calls into containers wait until the connection is closed. List shows the new address once its
// lag is over. id is a launch ID or a cloud ID.
func (c *Cloud) Move(id, address string) {
	if launch, taken := c.runs(address); taken {
		panic(fmt.Sprintf("fake: %s has the address %s", launch, address))
	}
	c.mu.Lock()
	m := c.find(id)
	m.before, m.address, m.moved, m.number = m.address, address, time.Now(), 0
	engines := slices.Clone(c.engines)
	c.mu.Unlock()
	for _, e := range engines {
		e.machineMoved(m.launch, address)
	}
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

// PlantSibling starts a machine of another pool with the same name, and returns its cloud ID. List shows it, and it is
// not this pool's to end.
func (c *Cloud) PlantSibling(poolUID string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foreign++
	launch := fmt.Sprintf("sibling-%d", c.foreign)
	return c.add(&machine{launch: launch, poolUID: poolUID, foreign: true, sibling: true}, time.Now()).cloudID
}

// Heal undoes every fault but those of CloudOptions.Fault, and what has happened to machines.
func (c *Cloud) Heal() {
	c.heal()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.capacity, c.atBoot, c.refused = c.opts.Capacity, nil, nil
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
		if m.state(now) == pool.MachineRunning && m.address == address {
			return m.launch, true
		}
	}
	return "", false
}
