package fake

import (
	"crypto/sha256"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/pool"
)

// fleet holds the machines of a Cloud, including those that have ended. The Cloud's mu protects it.
type fleet struct {
	opts     CloudOptions
	byLaunch map[string]*machine
	byCloud  map[string]*machine
	order    []*machine // those that may still be listed or alive, by launch
}

// add starts a machine.
func (f *fleet) add(m *machine, now time.Time) *machine {
	sum := sha256.Sum256([]byte(m.launch))
	m.cloudID = fmt.Sprintf("i-%x", sum[:8])
	m.number = f.freeNumber(now)
	m.address = fmt.Sprintf("tcp://10.0.%d.%d:2376", m.number>>8, m.number&255)
	m.launched, m.runs = now, now.Add(f.opts.Boot)
	f.byLaunch[m.launch], f.byCloud[m.cloudID] = m, m
	f.order = append(f.order, m)
	return m
}

// freeNumber returns the lowest address that no machine has. Addresses are reused as soon as possible.
func (f *fleet) freeNumber(now time.Time) int {
	f.order = slices.DeleteFunc(f.order, func(m *machine) bool { return f.over(m, now.Add(-f.opts.ListLag)) })
	used := make([]bool, len(f.order)+2)
	for _, m := range f.order {
		if m.number < len(used) && m.state(now) != pool.MachineEnded {
			used[m.number] = true
		}
	}
	return 1 + slices.Index(used[1:], false)
}

// alive returns how many machines of the pool cost money.
func (f *fleet) alive(now time.Time) int {
	n := 0
	for _, m := range f.order {
		if !m.foreign && m.costs(now) {
			n++
		}
	}
	return n
}

// over reports whether a machine has ended and will not be listed again. List shows the world as of a given time.
func (f *fleet) over(m *machine, world time.Time) bool {
	return reached(m.ended, world) && (m.vanished || !world.Before(m.ended.Add(f.opts.Linger)))
}

// find returns the machine with a launch ID or a cloud ID. It panics if there is none: the test is wrong.
func (f *fleet) find(id string) *machine {
	if m := f.byLaunch[id]; m != nil {
		return m
	}
	if m := f.byCloud[id]; m != nil {
		return m
	}
	panic(fmt.Sprintf("fake: the cloud never had a machine %q", id))
}
