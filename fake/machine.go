package fake

import (
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/pool"
)

// machine is a machine of a Cloud. What state it is in follows from its times; a zero time is one that will not come.
type machine struct {
	launch   string
	poolUID  string
	cloudID  string
	number   int // of its address, from 1; 0 = it has moved from there
	address  string
	before   string    // its address until moved
	moved    time.Time // when it got its address; zero = it has always had it
	request  pool.Frozen
	foreign  bool
	sibling  bool // foreign, and listed all the same
	vanished bool // not listed once it has ended
	console  string
	outlook  []forecast // what was foretold of it, the latest last
	reason   string
	launched time.Time
	runs     time.Time // when it runs, if nothing happens before
	stopped  time.Time
	ending   time.Time
	ended    time.Time

	ignored   int   // how many terminations it will ignore
	protected error // with which its termination fails
}

func reached(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// state is the machine's state at a time after its launch.
func (m *machine) state(now time.Time) pool.MachineState {
	switch {
	case reached(m.ended, now):
		return pool.MachineEnded
	case reached(m.ending, now):
		return pool.MachineEnding
	case reached(m.stopped, now):
		return pool.MachineStopped
	case reached(m.runs, now):
		return pool.MachineRunning
	}
	return pool.MachinePending
}

// costs reports whether the machine costs money.
func (m *machine) costs(now time.Time) bool {
	s := m.state(now)
	return s != pool.MachineEnding && s != pool.MachineEnded
}

// addressAt is the address that the machine had at a time after it began to run.
func (m *machine) addressAt(t time.Time) string {
	if t.Before(m.moved) {
		return m.before
	}
	return m.address
}

// seen is the machine as the cloud shows it.
func (m *machine) seen(now time.Time) pool.Machine {
	s := m.state(now)
	shown := pool.Machine{LaunchID: m.launch, PoolUID: m.poolUID, CloudID: m.cloudID, State: s, Launched: m.launched}
	if reached(m.runs, now) && s != pool.MachineEnded {
		shown.Address = m.addressAt(now)
	}
	if s != pool.MachinePending && s != pool.MachineRunning {
		shown.Reason = m.reason
		return shown
	}
	for _, f := range m.outlook {
		if reached(f.from, now) {
			shown.Outlook, shown.Reason = f.outlook, f.reason
		}
	}
	return shown
}

// forecast is what is foretold of a machine from some time on.
type forecast struct {
	from    time.Time
	outlook pool.Outlook
	reason  string
}

// end begins the machine's end, if that has not begun.
func (m *machine) end(now time.Time, takes time.Duration, reason string) {
	if m.costs(now) {
		m.ending, m.ended, m.reason = now, now.Add(takes), reason
	}
}

// launch is the effect of Launch.
func (c *Cloud) launch(id string, f pool.Frozen) (pool.Machine, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	if m := c.machines[id]; m != nil {
		switch {
		case !bytes.Equal(m.request, f):
			return pool.Machine{}, fmt.Errorf("%w: the ID was used with another request", pool.ErrLaunchOver)
		case !m.costs(now):
			return pool.Machine{}, fmt.Errorf("%w: %s has ended: %s", pool.ErrLaunchOver, m.cloudID, m.reason)
		}
		return m.seen(now), nil
	}
	var request frozen
	if err := json.Unmarshal(f, &request); err != nil {
		return pool.Machine{}, fmt.Errorf("%w: %w", pool.ErrPermanent, err)
	}
	if request.LaunchID != id {
		return pool.Machine{}, fmt.Errorf("%w: the request was prepared for launch %q", pool.ErrPermanent, request.LaunchID)
	}
	if c.alive(now) >= c.capacity {
		return pool.Machine{}, pool.ErrCapacity
	}
	m := c.add(&machine{launch: id, poolUID: request.PoolUID, request: slices.Clone(f)}, now)
	if len(c.atBoot) > 0 {
		m.ending, m.ended, m.reason = m.runs, m.runs, c.atBoot[0]
		c.atBoot = c.atBoot[1:]
	}
	c.maxAlive = max(c.maxAlive, c.alive(now))
	return m.seen(now), nil
}

// add starts a machine.
func (c *Cloud) add(m *machine, now time.Time) *machine {
	sum := sha256.Sum256([]byte(m.launch))
	m.cloudID = fmt.Sprintf("i-%x", sum[:8])
	m.number = c.freeNumber(now)
	m.address = fmt.Sprintf("tcp://10.0.%d.%d:2376", m.number>>8, m.number&255)
	m.launched, m.runs = now, now.Add(c.opts.Boot)
	c.machines[m.launch], c.byCloud[m.cloudID] = m, m
	c.order = append(c.order, m)
	return m
}

// freeNumber returns the lowest address that no machine has: addresses are reused as soon as that is possible.
func (c *Cloud) freeNumber(now time.Time) int {
	c.order = slices.DeleteFunc(c.order, func(m *machine) bool { return c.over(m, now.Add(-c.opts.ListLag)) })
	used := make([]bool, len(c.order)+2)
	for _, m := range c.order {
		if m.number < len(used) && m.state(now) != pool.MachineEnded {
			used[m.number] = true
		}
	}
	return 1 + slices.Index(used[1:], false)
}

func (c *Cloud) alive(now time.Time) int {
	n := 0
	for _, m := range c.order {
		if !m.foreign && m.costs(now) {
			n++
		}
	}
	return n
}

// over reports whether a machine has ended and List, which shows the world as of a given time, will not show it again.
func (c *Cloud) over(m *machine, world time.Time) bool {
	return reached(m.ended, world) && (m.vanished || !world.Before(m.ended.Add(c.opts.Linger)))
}

// list is the effect of List.
func (c *Cloud) list() []pool.Machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	world := time.Now().Add(-c.opts.ListLag)
	var all []pool.Machine
	for _, m := range c.order {
		if (!m.foreign || m.sibling) && !world.Before(m.launched) && !c.over(m, world) {
			all = append(all, m.seen(world))
		}
	}
	return all
}

// terminate is the effect of Terminate.
func (c *Cloud) terminate(cloudIDs []string) (failed map[string]error) {
	c.mu.Lock()
	now := time.Now()
	var gone []string
	for _, id := range cloudIDs {
		m := c.byCloud[id]
		var err error
		switch {
		case m == nil:
		case m.foreign:
			err = fmt.Errorf("%w: %s is not a machine of this pool", pool.ErrPermanent, id)
		case m.protected != nil:
			err = m.protected
		case m.ignored > 0:
			m.ignored--
		default:
			m.end(now, c.opts.Ending, "Client.UserInitiatedShutdown")
			gone = append(gone, m.launch)
		}
		if err != nil {
			if failed == nil {
				failed = make(map[string]error)
			}
			failed[id] = err
		}
	}
	c.mu.Unlock()
	c.gone(gone...)
	return failed
}

// gone tells the engines that machines do not run any more. The caller does not hold mu.
func (c *Cloud) gone(launches ...string) {
	c.mu.Lock()
	engines := slices.Clone(c.engines)
	c.mu.Unlock()
	for _, e := range engines {
		for _, launch := range launches {
			e.machineGone(launch)
		}
	}
}
