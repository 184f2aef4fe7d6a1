package usage

import (
	"maps"
	"sync"
	"time"

	"github.com/berth-go/berth/pool"
)

// listing is what the cloud's lists said of one machine last.
type listing struct {
	pool.Machine
	at      time.Time // when the last list was asked for that shows it
	ended   time.Time // when the first of these lists was that shows it as ended; zero = none does
	missing time.Time // when the first list was asked for that does not show it any more; zero = the last one does
}

// listings remembers what the cloud has listed, between two steps.
type listings struct {
	mu    sync.Mutex         // protects what follows
	first time.Time          // when the first list since begin was asked for; zero = there was none
	all   map[string]listing // by cloud ID
}

// begin is called when this process begins to plan: until then it may have had no lists for long.
func (s *listings) begin() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.first = time.Time{}
}

// add takes in a list.
func (s *listings) add(machines []pool.Machine, asked time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.first.IsZero() {
		s.first = asked
	}
	if s.all == nil {
		s.all = make(map[string]listing)
	}
	for _, m := range machines {
		is := listing{Machine: m, at: asked}
		if hasEnded(m) {
			if is.ended = s.all[m.CloudID].ended; is.ended.IsZero() {
				is.ended = asked
			}
		}
		s.all[m.CloudID] = is
	}
	for id, is := range s.all {
		switch {
		case is.at.Equal(asked):
		case is.missing.IsZero():
			is.missing = asked
			s.all[id] = is
		case asked.Sub(is.missing) > remembered:
			delete(s.all, id)
		}
	}
}

// copy returns what is remembered, and when the first list since begin was asked for.
func (s *listings) copy() (all map[string]listing, first time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return maps.Clone(s.all), s.first
}

// hasEnded reports whether the bill of a machine has ended.
func hasEnded(m pool.Machine) bool {
	return !m.Ended.IsZero() || m.State == pool.MachineEnding || m.State == pool.MachineEnded
}
