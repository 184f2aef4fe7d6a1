package store

import (
	"slices"
	"time"

	"github.com/berth-go/berth/naming"
)

// Empty is a container that no session holds, and that is kept for the next one. Its instance lists it.
type Empty struct {
	Container  string            // Container.ID
	Repository naming.Repository // for the bill
	Since      time.Time         // when it became empty, by the wall clock of the process that ended its last session
	// WarmUntil is the container's own. It stays until then.
	WarmUntil time.Time `json:",omitzero"`
}

// Warmth lists what is wanted to be up before a session needs it. It is one record.
type Warmth struct {
	// Wishes are the planner's own, the one that is worth most last, and then those of hosts, the one for which a host asked last
	// last.
	Wishes []WarmWish
}

// WarmWish is a wish for a container of one sharing key, of a host or of the planner.
type WarmWish struct {
	Name       string // the container name
	SharingKey naming.Key
	Remote     string    // the URL that it fetches from; holds no credential
	Branch     string    // "" = the remote's default branch
	Asked      time.Time // when a host last asked for it, or the planner renewed it
	Until      time.Time // when the wish is over
	// Container and Instance are the container that fulfils the wish, and takes a part of the budget. "" = none does.
	Container, Instance string `json:",omitempty"`
	// Learned says that it is the planner's own: see Demand.
	Learned bool `json:",omitempty"`
}

// WarmthKey is the key of the list of what hosts want to be up.
func WarmthKey() Key { return Key{Kind: KindWarmth} }

// Key implements Record.
func (*Warmth) Key() Key { return WarmthKey() }

// Clone implements Record.
func (r *Warmth) Clone() Record {
	c := *r
	c.Wishes = slices.Clone(r.Wishes)
	return &c
}

// UnlistEmpty removes a container from the empty ones of its instance, if it is one of them.
func UnlistEmpty(tx Tx, instance, container string) error {
	in, err := Find[*Instance](tx, InstanceKey(instance))
	if err != nil || in == nil {
		return err
	}
	is := func(e Empty) bool { return e.Container == container }
	if !slices.ContainsFunc(in.Empties, is) {
		return nil
	}
	in.Empties = slices.DeleteFunc(in.Empties, is)
	return tx.Put(in)
}
