package pool

import (
	"errors"
	"time"

	"github.com/berth-go/berth/store"
)

// sight is what a Manager has seen with its own eyes, since its Run began, of one instance or of a machine that no
// record knows, and what it is doing about it. It is no part of the store: whoever takes over looks for itself, and
// measures by its own monotonic clock.
type sight struct {
	known   time.Time // when it was seen first
	state   store.InstanceState
	since   time.Time // when it was seen in that state first
	listed  bool      // the cloud has listed it
	missing time.Time // when the cloud was first found not to list it, since it last did; zero = it does

	probed    string // the address that healthy and strikes are about
	healthy   bool   // the last probe succeeded
	failure   string // why the last probe failed
	strikes   int    // probes that failed in a row
	probing   bool   // a probe is under way
	nextProbe time.Time
	notice    Outlook   // what its host said of its future when it answered last
	noticed   string    // in whose words
	impaired  time.Time // since when its outlook is OutlookImpaired; zero = it is another

	foreign bool // it carries another store's UID

	needed time.Time // when it had no session and was needed all the same

	busy  bool      // an action on it is under way
	after time.Time // it is not acted on before then
	asked time.Time // the cloud has agreed to end it, and is not asked again before then
	tries int       // actions on it that failed in a row
	alone bool      // its termination failed together with those of others
}

// waits reports whether nothing is to be done about it now.
func (g sight) waits(now time.Time) bool { return g.busy || g.after.After(now) }

// answered notes what came of a probe.
func (g *sight) answered(address string, err error, booting bool) {
	if g.probed != address {
		g.probed, g.strikes = address, 0
	}
	foretold, told := errors.AsType[*OutlookError](err)
	g.healthy = err == nil || told
	g.failure = ""
	if !g.healthy {
		g.failure = err.Error()
	}
	switch {
	case g.healthy:
		g.strikes, g.notice, g.noticed = 0, OutlookGood, ""
		if told {
			g.notice, g.noticed = foretold.Outlook, foretold.Reason
		}
	case !booting: // one that boots is expected not to answer
		g.strikes++
	}
}

// sightOf returns the sight of an instance, a new one if need be. The caller holds mu.
func (m *Manager) sightOf(id string, now time.Time) *sight {
	g := m.sights[id]
	if g == nil {
		g = &sight{known: now}
		m.sights[id] = g
	}
	return g
}

// note compares what the store says with what the cloud said last, remembers since when they disagree, and completes
// the snapshot.
func (m *Manager) note(s *snapshot, now time.Time) {
	m.mu.Lock()
	defer m.mu.Unlock()
	s.listed, s.listedAt = m.listErr == nil, m.listedAt
	s.generation, s.tokens = m.generation, m.bucket.left(m.cfg, now)
	s.frozen, m.is = m.frozen(now), conditions{frozen: m.refusals()}
	s.machines = make(map[string]Machine, len(s.instances))
	s.seen = make(map[string]sight, len(s.instances))
	s.strangers = make(map[string]sight)

	strangers := m.match(s)
	for _, in := range s.instances {
		g := m.sightOf(in.ID, now)
		if g.state != in.State {
			g.state, g.since = in.State, now
		}
		if _, there := s.machines[in.ID]; there {
			g.listed, g.missing = true, time.Time{}
		} else if s.listed && g.missing.IsZero() {
			g.missing = s.listedAt
		}
		if s.frozen && (in.State == store.InstanceLaunching || in.State == store.InstanceBooting) {
			g.known = now // the time in which the cloud could not be asked does not count
		}
		s.seen[in.ID] = *g
		if o, _ := s.outlook(in); o != OutlookImpaired {
			g.impaired = time.Time{}
		} else if g.impaired.IsZero() {
			g.impaired = now
		}
		s.seen[in.ID] = *g
	}
	m.doubt(s)
	for _, in := range needed(*s, m.cfg) {
		m.sights[in.ID].needed = now
		s.seen[in.ID] = *m.sights[in.ID]
	}
	for id := range m.sights {
		if _, known := s.seen[id]; !known && !m.sights[id].busy {
			delete(m.sights, id)
		}
	}
	for id := range m.strangers {
		if !strangers[id] && !m.strangers[id].busy {
			delete(m.strangers, id)
		}
	}
	for id := range strangers {
		if m.strangers[id] == nil {
			m.strangers[id] = &sight{known: s.listedAt, foreign: m.foreign.seen[id]}
		}
		s.strangers[id] = *m.strangers[id]
	}
}

// doubt notes whether what is seen of many instances at once is believed. The caller holds mu.
func (m *Manager) doubt(s *snapshot) {
	weighed := *s
	weighed.weigh(m.cfg)
	m.is.doubtful, m.is.cutOff = weighed.doubtful, weighed.cutOff
	if m.told.cutOff && !m.is.cutOff {
		// Those that have not been probed again since are given the same chance as at first.
		for _, in := range s.instances {
			m.sights[in.ID].strikes = 0
			s.seen[in.ID] = *m.sights[in.ID]
		}
	}
}

// match finds the machine of each instance, and returns the cloud IDs of those that are nobody's and may cost money:
// where ForeignGrace says so, those of another store are.
// The caller holds mu.
func (m *Manager) match(s *snapshot) (strangers map[string]bool) {
	records := make(map[string]*store.Instance, len(s.instances))
	for _, in := range s.instances {
		records[in.ID] = in
	}
	strangers = make(map[string]bool)
	m.foreign.look(m.machines, m.listedAt, s.pool.UID, m.cfg)
	for _, machine := range m.machines {
		alive := machine.State != MachineEnded && machine.State != MachineEnding
		if !machine.of(s.pool.UID) { // of a pool with the same name and another store
			if machine.State != MachineEnded {
				m.is.foreign++
			}
			if alive && s.pool.UID != "" && m.endsForeign() {
				strangers[machine.CloudID] = true
			}
			continue
		}
		in := records[machine.LaunchID]
		_, taken := s.machines[machine.LaunchID]
		switch {
		case in != nil && !taken && (in.CloudID == "" || in.CloudID == machine.CloudID):
			s.machines[in.ID] = machine
		case alive:
			m.is.strangers++
			strangers[machine.CloudID] = true
		}
	}
	m.is.rival = m.foreign.rival
	return strangers
}
