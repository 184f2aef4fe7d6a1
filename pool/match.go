package pool

import (
	"time"

	"github.com/berth-go/berth/store"
)

// complete compares the store with the cloud's last list, records since when they disagree, and completes the snapshot.
func (m *Manager) complete(s *snapshot, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.listed, s.listedAt = m.listErr == nil, m.listedAt
	s.generation, s.tokens = m.generation, m.bucket.left(m.cfg, now)
	s.refused, m.conditions = m.credentialsRefused(now), conditions{refused: m.refusalReason()}
	s.machines = make(map[string]Machine, len(s.instances))
	s.seen = make(map[string]observation, len(s.instances))
	s.unknown = make(map[string]observation)

	unknown := m.match(s)
	for _, in := range s.instances {
		m.completeOne(s, in, now)
	}
	m.doubt(s)
	m.counted = census(s.instances)
	for _, in := range needed(*s, m.cfg) {
		m.observations[in.ID].needed = now
		s.seen[in.ID] = *m.observations[in.ID]
	}
	for id, obs := range m.observations {
		if _, known := s.seen[id]; !known && !obs.busy {
			delete(m.observations, id)
		}
	}
	for id, obs := range m.unknown {
		if !unknown[id] && !obs.busy {
			delete(m.unknown, id)
		}
	}
	for id := range unknown {
		if m.unknown[id] == nil {
			m.unknown[id] = &observation{
				known: s.listedAt, foreign: m.foreign.seen[id], doubted: m.launchedInDoubt(id, s.pool.Doubts),
			}
		}
		s.unknown[id] = *m.unknown[id]
	}
}

// completeOne is complete for one instance, whose machine has been found. The caller holds mu.
func (m *Manager) completeOne(s *snapshot, in *store.Instance, now time.Time) {
	obs := m.observationOf(in.ID, now)
	if obs.state != in.State {
		obs.state, obs.since = in.State, now
	}
	in.IdleSince = obs.idleSince(in.IdleSince, now)
	if _, there := s.machines[in.ID]; there {
		obs.listed, obs.missing = true, time.Time{}
	} else if s.listed && obs.missing.IsZero() {
		obs.missing = s.listedAt
	}
	if s.refused && (in.State == store.InstanceLaunching || in.State == store.InstanceBooting) {
		obs.known = now // the time in which the cloud could not be asked does not count
	}
	s.seen[in.ID] = *obs // for outlook
	if o, _ := s.outlook(in); o != OutlookImpaired {
		obs.impaired = time.Time{}
	} else if obs.impaired.IsZero() {
		obs.impaired = now
	}
	s.seen[in.ID] = *obs
}

// doubt records whether observations of many instances at once are believed. The caller holds mu.
func (m *Manager) doubt(s *snapshot) {
	weighed := *s
	weighed.weigh(m.cfg)
	m.conditions.doubtful, m.conditions.cutOff = weighed.doubtful, weighed.cutOff
	if m.logged.cutOff && !m.conditions.cutOff {
		// Instances that were not probed again since get the same chance as at first.
		for _, in := range s.instances {
			m.observations[in.ID].strikes = 0
			s.seen[in.ID] = *m.observations[in.ID]
		}
	}
}

// match finds the machine of each instance. It returns the cloud IDs of the machines that no record knows and that may
// cost money; where ForeignGrace says so, machines of another store are among them. The caller holds mu.
func (m *Manager) match(s *snapshot) (unknown map[string]bool) {
	records, byCloud := make(map[string]*store.Instance, len(s.instances)), make(map[string]*store.Instance)
	for _, in := range s.instances {
		records[in.ID] = in
		if in.CloudID != "" {
			byCloud[in.CloudID] = in
		}
	}
	unknown = make(map[string]bool)
	m.foreign.look(m.machines, m.listedAt, s.pool.UID, m.cfg)
	for _, machine := range m.machines {
		alive := machine.State != MachineEnded && machine.State != MachineEnding
		if in := byCloud[machine.CloudID]; in != nil && (machine.LaunchID == "" || machine.LaunchID == in.ID) {
			s.machines[in.ID] = machine // even if its tags differ: a cloud ID belongs to one machine
			continue
		}
		if !machine.of(s.pool.UID) { // of a pool with the same name and another store
			if machine.State != MachineEnded {
				m.conditions.foreign++
			}
			if alive && s.pool.UID != "" && m.endsForeign() {
				unknown[machine.CloudID] = true
			}
			continue
		}
		in := records[machine.LaunchID]
		_, taken := s.machines[machine.LaunchID]
		switch {
		case in != nil && !taken && (in.CloudID == "" || in.CloudID == machine.CloudID):
			s.machines[in.ID] = machine
		case alive:
			m.conditions.unknown++
			unknown[machine.CloudID] = true
		}
	}
	m.conditions.rival = m.foreign.rival
	return unknown
}
