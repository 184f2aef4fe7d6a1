package pool

import "github.com/berth-go/berth/store"

// Stats counts what a Manager has done since it was made, and says what is wrong with the pool as a whole. The
// conditions, from Frozen on, are those of the last observation while the Manager runs; otherwise they are zero.
type Stats struct {
	Launches             int64 // launches that gave a machine
	LaunchFailures       int64 // launches that failed, or whose machine never became ready
	InstancesLost        int64 // instances that vanished or stopped answering
	Interruptions        int64 // instances that the cloud took back with a notice
	UnknownMachinesEnded int64 // machines of the pool that no record knew, ended after OrphanGrace
	ForeignEnded         int64 // machines of another store, ended after Config.ForeignGrace
	ProbeFailures        int64 // failed probes of instances that were ready
	Throttled            int64 // calls that the cloud answered with ErrThrottled
	Errors               int64 // failed calls to the cloud and the store; each is logged

	// Frozen says why the cloud refuses the credentials for some sort of call. Until the cloud accepts them for such a
	// call again, the Manager launches and ends nothing, except for a try now and then, and gives up no instance for it.
	// "" = the cloud accepts the credentials
	Frozen          string
	CutOff          bool // so many instances do not answer that none is given up for that alone
	ListDoubted     bool // the cloud's list lacks so many instances that nothing is concluded from it
	UnknownMachines int  // machines of the pool that no record knows; they count against MaxInstances
	// Foreign is how many machines carry the pool's name and another store's UID. They belong to another pool, or to a
	// store that was lost. Without Config.ForeignGrace the Manager never touches them, and they do not count against
	// MaxInstances. With it they count, and the Manager ends them
	Foreign int
	Rival   bool // a machine with another store's UID has come while this Manager worked: that store is in use
}

// Census counts the instances of the pool as the last tick has seen them.
type Census struct {
	Instances map[store.InstanceState]int64
	// Used slots are held by sessions. Free ones can be taken. Unavailable ones are neither: their instance takes no sessions.
	Used, Free, Unavailable int64
}

// census counts instances.
func census(instances []*store.Instance) *Census {
	c := &Census{Instances: map[store.InstanceState]int64{
		store.InstanceLaunching: 0, store.InstanceBooting: 0, store.InstanceReady: 0, store.InstanceCordoned: 0,
		store.InstanceTerminating: 0, store.InstanceLost: 0,
	}}
	for _, in := range instances {
		c.Instances[in.State]++
		c.Used += int64(in.Sessions)
		rest := int64(max(in.Slots-in.Sessions, 0))
		if HasSlot(in) {
			c.Free += rest
		} else {
			c.Unavailable += rest
		}
	}
	return c
}

// Census returns the last count. ok is false while the Manager does not run. It makes no request.
func (m *Manager) Census() (c Census, ok bool) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if m.counted == nil {
		return Census{}, false
	}
	return *m.counted, true
}

// Stats returns the counts. It may be called at any time.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	found, errors := m.conditions, m.earlier+m.failures.Count()
	m.mu.Unlock()
	return Stats{
		Launches: m.launches.Load(), LaunchFailures: m.launchFailures.Load(), InstancesLost: m.lost.Load(),
		Interruptions: m.interruptions.Load(), UnknownMachinesEnded: m.unknownEnded.Load(), ForeignEnded: m.foreignEnded.Load(),
		ProbeFailures: m.probeFailures.Load(), Throttled: m.throttles.Load(), Errors: errors,
		Frozen: found.refused, CutOff: found.cutOff, ListDoubted: found.doubtful, UnknownMachines: found.unknown,
		Foreign: found.foreign, Rival: found.rival,
	}
}
