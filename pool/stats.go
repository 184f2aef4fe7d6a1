package pool

// Stats counts what a Manager has done since it was made, and says what is wrong with the pool as a whole. The
// conditions are those of the last look, of the Manager that works: elsewhere they are zero.
type Stats struct {
	Launches       int64 // launches that gave a machine
	LaunchFailures int64 // launches that failed, or whose machine never became ready
	InstancesLost  int64 // instances that vanished or stopped answering
	Interruptions  int64 // instances that the cloud took back with a notice
	StrangersEnded int64 // machines of the pool that no record knew, ended after OrphanGrace
	ForeignEnded   int64 // machines of another store, ended after Config.ForeignGrace
	ProbeFailures  int64 // of instances that were ready
	Throttled      int64 // calls that the cloud answered with ErrThrottled
	Errors         int64 // failed calls to the cloud and the store; each is logged

	// Frozen says why the cloud refuses the credentials, for a sort of call that it has not accepted since: nothing is
	// launched or ended then, but for a try now and then, and no instance is given up for it. "" = it accepts them
	Frozen      string
	CutOff      bool // so many instances do not answer that none is given up for that alone
	ListDoubted bool // the cloud's list lacks so many instances that nothing is concluded from it
	Strangers   int  // machines of the pool that no record knows; they count against MaxInstances
	// Foreign is how many machines carry the pool's name and another store's UID: those of another pool, or of a store
	// that was lost. Without Config.ForeignGrace they are never touched, and do not count against MaxInstances; with it
	// they do, and are ended
	Foreign int
	Rival   bool // a machine with another store's UID has come while this Manager worked: that store is in use
}

// Stats returns the counts. It may be called at any time.
func (m *Manager) Stats() Stats {
	m.mu.Lock()
	is := m.is
	m.mu.Unlock()
	return Stats{
		Launches: m.launches.Load(), LaunchFailures: m.failures.Load(), InstancesLost: m.lost.Load(),
		Interruptions: m.interruptions.Load(), StrangersEnded: m.strangersEnded.Load(), ForeignEnded: m.foreignEnded.Load(),
		ProbeFailures: m.probeFailures.Load(), Throttled: m.throttles.Load(), Errors: m.errors.Load(),
		Frozen: is.frozen, CutOff: is.cutOff, ListDoubted: is.doubtful, Strangers: is.strangers, Foreign: is.foreign, Rival: is.rival,
	}
}
