package store

import (
	"slices"
	"time"

	"github.com/berth-go/berth/naming"
)

// Demand is what the pool has learned of the sessions that come, so that containers can be up before the next ones do. It is one
// record. Its planner adds what it puts on the bill, in the same transaction. See package internal/demand.
type Demand struct {
	Since time.Time   // a session that started then counts 1000
	Keys  []KeyDemand // by Name
}

// KeyDemand is the demand for containers of one sharing key.
type KeyDemand struct {
	Name       string // the container name
	SharingKey naming.Key
	Remote     string  // the URL that the last session fetched from; holds no credential
	Hours      []int64 // the starts of sessions in each of the 24 hours of the day, in UTC. Older ones count less
	// Alone is what a session waited for that had to start the container, and Attached for one that was up: averages of which later
	// starts are the greater part. 0 = not known
	Alone, Attached time.Duration
}

// DemandKey is the key of what the pool has learned of the sessions that come.
func DemandKey() Key { return Key{Kind: KindDemand} }

// Key implements Record.
func (*Demand) Key() Key { return DemandKey() }

// Clone implements Record.
func (r *Demand) Clone() Record {
	c := *r
	c.Keys = slices.Clone(r.Keys)
	for i := range c.Keys {
		c.Keys[i].Hours = slices.Clone(c.Keys[i].Hours)
	}
	return &c
}
