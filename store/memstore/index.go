package memstore

import (
	"encoding/binary"
	"hash/maphash"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// index numbers the indexes, and the groups within each. All of them are in one tree, one after another.
type index uint8

const groups = 8 // more than an index has groups

const (
	none index = groups * iota // an entry that is not in the tree

	// Indexes that find equal values: num is the value's hash. A query looks at the records anyway, so two values
	// with one hash do no harm. Within a value the entries lie by ID.
	//
	// Each has a group, which is added to its number, for each of some states: a page of the few in one state costs
	// no walk over the many in another. The states themselves have a group each. In the others the ended sessions,
	// which may be kept by the thousand, are apart from the rest. That leaves most entries where they are when a
	// state changes.
	//
	// Owner has no index: all that is in this store belongs to one process, or to one after another.

	instancesByState
	containersByState
	containersByInstance
	sessionsByState
	sessionsByTask
	sessionsByUser
	sessionsByRepository
	sessionsByContainer
	sessionsByInstance
	sessionsByQueue // those that wait for a slot; all have one value

	// Indexes that give an order: by num, and then by ID.

	instancesByRoom  // the ready ones with a free slot, by free slots
	sessionsByLease  // the active ones that have a lease, by LeaseUntil
	sessionsByEnding // the ended ones, by EndedAt
	usageByDay       // by the first bytes of the ID, which are the day; so the order is that of the IDs
)

// entry is one record's place in one index. It has no pointers, so that the garbage collector does not look through
// the index, and it knows how the ID begins, so that to compare two entries seldom takes a look at their records. It
// names the record's row, not the record: one that changes in a field without an index changes no entry.
type entry struct {
	num   uint64
	head  uint64 // of the ID
	row   uint32
	index index
}

// less orders the tree.
func (d *data) less(a, b entry) bool {
	switch {
	case a.index != b.index:
		return a.index < b.index
	case a.num != b.num:
		return a.num < b.num
	case a.head != b.head:
		return a.head < b.head
	case a.row == b.row:
		return false
	}
	return d.rows[a.row].key.ID < d.rows[b.row].key.ID
}

// headOf returns the first bytes of an ID as a number of the same order.
func headOf(id string) uint64 {
	var b [8]byte
	copy(b[:], id)
	return binary.BigEndian.Uint64(b[:])
}

// entries has the index entries of one record. Each kind of entry has its own place, so that two versions can be compared one by
// one. The row and the head of the ID are not set: they are the same in all entries.
type entries [9]entry

func entriesOf(r store.Record) (e entries) {
	switch r := r.(type) {
	case *store.Instance:
		e[0] = entry{index: instancesByState + code(instanceStates[:], r.State)}
		if free := r.Slots - r.Sessions; free > 0 && r.State == store.InstanceReady {
			e[inRoom] = entry{index: instancesByRoom, num: uint64(free)}
		}
	case *store.Usage:
		e[0] = entry{index: usageByDay, num: headOf(r.ID)}
	case *store.Container:
		state := code(containerStates[:], r.State)
		e[0] = entry{index: containersByState + state}
		e[1] = equal(containersByInstance+state, r.Instance)
	case *store.Session:
		over := ended(r.State)
		e[0] = entry{index: sessionsByState + code(sessionStates[:], r.State)}
		e[1] = equal(sessionsByTask+over, r.TaskID)
		e[2] = equal(sessionsByUser+over, r.UserID)
		// The host is left to the look at the record: few paths are on two hosts, and joining the two would make a
		// string for every write.
		e[3] = equal(sessionsByRepository+over, r.SharingKey.Repository.Path)
		e[4] = equal(sessionsByContainer+over, r.Container)
		e[5] = equal(sessionsByInstance+over, r.Instance)
		if r.Queued {
			e[6] = entry{index: sessionsByQueue}
		}
		if r.State == store.SessionActive && !r.LeaseUntil.IsZero() {
			e[inLeases] = entry{index: sessionsByLease, num: sortable(r.LeaseUntil)}
		}
		if r.State == store.SessionEnded && !r.EndedAt.IsZero() {
			e[inEndings] = entry{index: sessionsByEnding, num: sortable(r.EndedAt)}
		}
	}
	return e
}

// The places among the entries of those that give an order.
const (
	inRoom = 1 // an instance's; the others are a session's

	inLeases  = 7
	inEndings = 8
)

// equal returns an entry of an index that finds equal values, or none for an empty value: no query looks for that.
func equal(in index, value string) entry {
	if value == "" {
		return entry{}
	}
	return entry{index: in, num: maphash.String(seed, value)}
}

var seed = maphash.MakeSeed()

// sortable turns a time into a number of the same order, to the microsecond.
func sortable(t time.Time) uint64 { return uint64(t.UnixMicro()) ^ 1<<63 }

var (
	instanceStates = [...]store.InstanceState{
		store.InstanceLaunching, store.InstanceBooting, store.InstanceReady,
		store.InstanceCordoned, store.InstanceTerminating, store.InstanceLost,
	}
	containerStates = [...]store.ContainerState{
		store.ContainerStarting, store.ContainerReady, store.ContainerStopping,
	}
	sessionStates = [...]store.SessionState{
		store.SessionCreating, store.SessionActive, store.SessionTerminating, store.SessionEnded,
	}
)

// code is the group of a state: one more than its place among the known ones, 0 for any other.
func code[S comparable](known []S, state S) index { return index(slices.Index(known, state) + 1) }

// ended is the group of a session's state where only the ended ones are apart.
func ended(state store.SessionState) index {
	if state == store.SessionEnded {
		return 1
	}
	return 0
}

// codes returns the groups in which a query for those states looks; none = all.
func codes[S comparable](known, states []S) []index {
	return among(len(known)+1, states, func(s S) index { return code(known, s) })
}

// endedOrNot is codes where only the ended ones are apart.
func endedOrNot(states []store.SessionState) []index { return among(2, states, ended) }

func among[S any](n int, states []S, group func(S) index) []index {
	var gs []index
	for g := range index(n) {
		if len(states) == 0 || slices.ContainsFunc(states, func(s S) bool { return group(s) == g }) {
			gs = append(gs, g)
		}
	}
	return gs
}
