package sim

import (
	"time"

	"github.com/berth-go/berth/internal/test/audit"
	"github.com/berth-go/berth/store"
)

// cost compares the cost of the machines with the cost if every session could be moved at any time to where it fits
// best.
type cost struct {
	last    time.Time
	wanted  int           // the machines that have been needed since then
	perfect time.Duration // the machine time of a perfect packing
}

// look records the present content of the store.
func (c *cost) look(p plan, s *audit.Snapshot) {
	c.tick()
	held := 0
	for _, x := range s.Sessions {
		if x.State != store.SessionEnded && !x.Queued {
			held++
		}
	}
	slots := p.config.MaxTasksPerInstance
	c.wanted = max(p.config.MinInstances, (held+p.config.SpareSlots+slots-1)/slots)
}

func (c *cost) tick() {
	now := time.Now()
	c.perfect += time.Duration(c.wanted) * now.Sub(c.last)
	c.last = now
}

// machineTime returns the machine time that was paid for, and the number of launches.
func (w *world) machineTime() (paid time.Duration, launches int) {
	now := time.Now()
	for _, m := range w.cloud.Machines() {
		if m.Foreign {
			continue
		}
		launches++
		if m.Ended.IsZero() {
			m.Ended = now
		}
		paid += m.Ended.Sub(m.Launched)
	}
	return paid, launches
}

// bill is the cost of one or more runs.
type bill struct {
	paid, perfect, idle time.Duration // idle: the time until an unused instance is retired, and that of its boot
	launches            int
}

func (b *bill) add(o bill) {
	b.paid += o.paid
	b.perfect += o.perfect
	b.idle += o.idle
	b.launches += o.launches
}

// bill returns the cost of the run until now.
func (w *world) bill() bill {
	w.rules.checking.Lock()
	defer w.rules.checking.Unlock()
	w.rules.cost.tick()
	paid, launches := w.machineTime()
	each := w.plan.config.InstanceIdleTimeout + 30*time.Second // includes the times of a boot and a termination
	return bill{paid, w.rules.cost.perfect, time.Duration(launches) * each, launches}
}
