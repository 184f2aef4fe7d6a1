package pool

import "time"

// foreign is what a Manager has seen of the machines that carry the pool's name and another store's UID. It tells a store
// that was lost from one that is in use: there, machines come.
type foreign struct {
	since time.Time       // when the cloud listed any machines first
	seen  map[string]bool // cloud IDs of all that were there
	rival bool            // one has come since: another store is in use
}

// look looks for them in a list. Lists lag behind, and so does the end of a process whose store is lost.
func (f *foreign) look(machines []Machine, listedAt time.Time, uid string, cfg Config) {
	if f.seen == nil {
		if listedAt.IsZero() {
			return
		}
		f.since, f.seen = listedAt, make(map[string]bool)
	}
	var ours time.Time // the launch of our oldest machine, by the cloud's clock as all launches
	for _, m := range machines {
		if m.PoolUID == uid && !m.Launched.IsZero() && (ours.IsZero() || m.Launched.Before(ours)) {
			ours = m.Launched
		}
	}
	for _, m := range machines {
		if !m.of(uid) && m.State != MachineEnded && !f.seen[m.CloudID] {
			f.seen[m.CloudID] = true
			late := !ours.IsZero() && m.Launched.Sub(ours) >= cfg.OrphanGrace // of one that came while another Manager worked
			f.rival = f.rival || late || listedAt.Sub(f.since) >= cfg.OrphanGrace
		}
	}
}

// of reports whether a machine is of the store with a UID.
func (m Machine) of(uid string) bool { return m.PoolUID == "" || m.PoolUID == uid }

// endsForeign reports whether machines of another store are ended after ForeignGrace. The caller holds mu.
func (m *Manager) endsForeign() bool { return m.cfg.ForeignGrace > 0 && !m.foreign.rival }

func (m *Manager) ofAnotherStore(cloudID string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.foreign.seen[cloudID]
}
