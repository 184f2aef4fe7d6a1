package fake

import (
	"bytes"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/pool"
)

// machine is a machine of a Cloud. Its state follows from its times. A zero time never comes.
type machine struct {
	launch   string
	typ      string // of the instance
	poolUID  string
	cloudID  string
	number   int // of its address, from 1; 0 = it has moved from there
	address  string
	before   string    // its address until moved
	moved    time.Time // when it got its address; zero = it has always had it
	request  pool.Frozen
	foreign  bool
	sibling  bool // foreign, but listed
	vanished bool // not listed once it has ended
	console  string
	outlook  []forecast // its outlooks, the latest last
	reason   string
	launched time.Time
	runs     time.Time // when it begins to run, if nothing happens before
	stopped  time.Time
	ending   time.Time
	ended    time.Time

	ignored   int   // the number of terminations to ignore
	protected error // the error of its termination
}

func reached(t, now time.Time) bool { return !t.IsZero() && !now.Before(t) }

// state returns the machine's state at a time after its launch.
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

// addressAt returns the machine's address at a time after it began to run.
func (m *machine) addressAt(t time.Time) string {
	if t.Before(m.moved) {
		return m.before
	}
	return m.address
}

// seen returns the machine as the cloud shows it.
func (m *machine) seen(now time.Time) pool.Machine {
	s := m.state(now)
	shown := pool.Machine{LaunchID: m.launch, PoolUID: m.poolUID, CloudID: m.cloudID, State: s, Launched: m.launched}
	shown.Type = m.typ
	if reached(m.ending, now) {
		shown.Ended = m.ending
	}
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

// forecast is the outlook of a machine from a time on.
type forecast struct {
	from    time.Time
	outlook pool.Outlook
	reason  string
}

// end begins the end of the machine, unless it has begun already.
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
	if m := c.fleet.byLaunch[id]; m != nil {
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
	if c.fleet.alive(now) >= c.capacity {
		return pool.Machine{}, pool.ErrCapacity
	}
	m := c.fleet.add(&machine{launch: id, typ: request.Type, poolUID: request.PoolUID, request: slices.Clone(f)}, now)
	if len(c.atBoot) > 0 {
		m.ending, m.ended, m.reason = m.runs, m.runs, c.atBoot[0]
		c.atBoot = c.atBoot[1:]
	}
	c.maxAlive = max(c.maxAlive, c.fleet.alive(now))
	return m.seen(now), nil
}

// list is the effect of List.
func (c *Cloud) list() []pool.Machine {
	c.mu.Lock()
	defer c.mu.Unlock()
	world := time.Now().Add(-c.opts.ListLag)
	var all []pool.Machine
	for _, m := range c.fleet.order {
		if (!m.foreign || m.sibling) && !world.Before(m.launched) && !c.fleet.over(m, world) {
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
		m := c.fleet.byCloud[id]
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

// gone informs the engines that machines have stopped running. The caller does not hold mu.
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
