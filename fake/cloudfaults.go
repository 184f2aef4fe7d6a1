package fake

import (
	"fmt"
	"math"
	"slices"
	"time"

	"github.com/berth-go/berth/pool"
)

// SetCapacity changes how many machines may be alive at once. Further launches fail with pool.ErrCapacity. Existing
// machines stay. A negative n means no limit.
func (c *Cloud) SetCapacity(n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if n < 0 {
		n = math.MaxInt
	}
	c.capacity = n
}

// SetImage changes the newest image: requests that are prepared from now on differ from those prepared before.
func (c *Cloud) SetImage(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.image = name
}

// SetGeneration sets the result of Generation.
func (c *Cloud) SetGeneration(name string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.version = name
}

// SetConsole sets the result of Explain for a machine. id is a launch ID or a cloud ID.
func (c *Cloud) SetConsole(id, text string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fleet.find(id).console = text
}

// Refuse makes every call fail with err before it has an effect, as a cloud does when credentials have expired. nil
// undoes it.
func (c *Cloud) Refuse(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.refused = err
}

// Foretell makes List show an outlook of a running machine, after its usual lag. id is a launch ID or a cloud ID.
func (c *Cloud) Foretell(id string, o pool.Outlook, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	m := c.fleet.find(id)
	m.outlook = append(m.outlook, forecast{time.Now(), o, reason})
}

// Reclaim takes back a spot machine with a notice. It foretells the interruption at once, and ends the machine after a
// time, which is two minutes on EC2. It does nothing to a machine that has ended. id is a launch ID or a cloud ID.
func (c *Cloud) Reclaim(id string, after time.Duration) {
	c.Foretell(id, pool.OutlookInterrupted, "Server.SpotInstanceInterruption")
	time.AfterFunc(after, func() { c.Interrupt(id) })
}

// EndAtBoot makes each of the next n machines end at the moment when it should begin to run, for a reason in the
// cloud's words.
func (c *Cloud) EndAtBoot(n int, reason string) {
	c.mu.Lock()
	defer c.mu.Unlock()
	for range n {
		c.atBoot = append(c.atBoot, reason)
	}
}

// Interrupt ends a machine as a cloud does when it takes back a spot instance, without a notice. It does nothing to a
// machine that has ended. id is a launch ID or a cloud ID.
func (c *Cloud) Interrupt(id string) {
	c.outside(id, func(m *machine, now time.Time) { m.end(now, c.opts.Ending, "Server.SpotInstanceTermination") })
}

// Vanish ends a machine at once. List stops showing it after its lag. id is a launch ID or a cloud ID.
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

// Move gives a machine another address, which no machine may have. The machine does not answer at the old address any more, and
// another machine may get that address. Containers and commands on the machine continue. For callers at the old address,
// calls to its engine fail, and calls into containers wait until the connection is closed. List shows the new address once its
// lag is over. id is a launch ID or a cloud ID.
func (c *Cloud) Move(id, address string) {
	if launch, taken := c.runs(address); taken {
		panic(fmt.Sprintf("fake: %s has the address %s", launch, address))
	}
	c.mu.Lock()
	m := c.fleet.find(id)
	m.before, m.address, m.moved, m.number = m.address, address, time.Now(), 0
	engines := slices.Clone(c.engines)
	c.mu.Unlock()
	for _, e := range engines {
		e.machineMoved(m.launch, address)
	}
}

func (c *Cloud) outside(id string, end func(*machine, time.Time)) {
	c.mu.Lock()
	m := c.fleet.find(id)
	end(m, time.Now())
	c.mu.Unlock()
	c.gone(m.launch)
}

// FailTerminate makes the termination of one machine fail with err, as termination protection does. nil undoes it. id
// is a launch ID or a cloud ID.
func (c *Cloud) FailTerminate(id string, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fleet.find(id).protected = err
}

// IgnoreTerminate makes the next n terminations of a machine succeed without effect. id is a launch ID or a cloud ID.
func (c *Cloud) IgnoreTerminate(id string, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.fleet.find(id).ignored = n
}

// FailLaunches makes the next n launches fail with err and start nothing.
func (c *Cloud) FailLaunches(n int, err error) { c.Fail(Launch, n, err) }

// LoseLaunches makes the next n launches start their machine and return an error that does not say so.
func (c *Cloud) LoseLaunches(n int) { c.LoseReplies(Launch, n) }

// PlantForeign starts a machine of somebody else, and returns its cloud ID. No pool may see or end it.
func (c *Cloud) PlantForeign() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foreign++
	return c.fleet.add(&machine{launch: fmt.Sprintf("foreign-%d", c.foreign), foreign: true}, time.Now()).cloudID
}

// PlantSibling starts a machine of another pool with the same name, and returns its cloud ID. List shows it, but this
// pool may not end it.
func (c *Cloud) PlantSibling(poolUID string) string {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.foreign++
	launch := fmt.Sprintf("sibling-%d", c.foreign)
	return c.fleet.add(&machine{launch: launch, poolUID: poolUID, foreign: true, sibling: true}, time.Now()).cloudID
}

// Heal undoes every fault, except those of CloudOptions.Fault and those that have already affected machines.
func (c *Cloud) Heal() {
	c.heal()
	c.mu.Lock()
	defer c.mu.Unlock()
	c.capacity, c.atBoot, c.refused = c.opts.Capacity, nil, nil
	for _, m := range c.fleet.byLaunch {
		m.ignored, m.protected = 0, nil
	}
}

// runs returns the running machine at an address.
func (c *Cloud) runs(address string) (launch string, ok bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	for _, m := range c.fleet.order {
		if m.state(now) == pool.MachineRunning && m.address == address {
			return m.launch, true
		}
	}
	return "", false
}
