package pool

import "time"

// foreign records which machines carry the pool's name and another store's UID. It tells a store that was lost from one
// that is in use: machines are launched only for the latter.
type foreign struct {
	since time.Time       // when the cloud listed any machines first
	seen  map[string]bool // cloud IDs of all that were there
	rival bool            // one has come later: another store is in use
}

// look looks for them in a list. A machine that comes soon after the first list does not prove that the other store is in
// use: lists lag behind, and a process whose store was lost may launch for a while yet.
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
			late := !ours.IsZero() && m.Launched.Sub(ours) >= cfg.OrphanGrace // it came while another Manager worked
			f.rival = f.rival || late || listedAt.Sub(f.since) >= cfg.OrphanGrace
		}
	}
}

// of reports whether a machine may belong to the store with a UID.
func (m Machine) of(uid string) bool { return m.PoolUID == "" || m.PoolUID == uid }

// endsForeign reports whether machines of another store are ended after ForeignGrace. The caller holds mu.
func (m *Manager) endsForeign() bool { return m.cfg.ForeignGrace > 0 && !m.foreign.rival }

func (m *Manager) ofAnotherStore(cloudID string) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.foreign.seen[cloudID]
}
