package usage

import (
	"testing"
	"time"

	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

var epoch = time.Date(2030, 1, 1, 0, 0, 0, 0, time.UTC)

func at(minutes float64) time.Time { return epoch.Add(time.Duration(minutes * float64(time.Minute))) }

// bill plays the accounts of one machine: a list or a step at a time.
type bill struct {
	*testing.T
	seen   listings
	ledger store.Ledger
	total  int64

	settled bool // the pool is destroyed
}

func (b *bill) list(minute float64, m ...pool.Machine) {
	for i := range m {
		m[i].CloudID = "m"
	}
	b.seen.add(m, at(minute))
}

// steps accounts until nothing is due.
func (b *bill) steps(minute float64) {
	for {
		seen, first := b.seen.copy()
		due, _ := refresh(&b.ledger, seen, first, at(minute), b.settled)
		if len(due) == 0 {
			return
		}
		for _, s := range due {
			if s.to/hour != s.from/hour && s.to%hour != 0 && s.to > s.from {
				b.Errorf("a span crosses an hour: %v to %v", s.from, s.to)
			}
			b.total += s.to - s.from
			b.ledger.Meters[s.meter].Through = s.to
		}
	}
}

func (b *bill) want(minutes float64) {
	b.Helper()
	if got, want := time.Duration(b.total)*time.Microsecond, at(minutes).Sub(epoch); got != want {
		b.Errorf("%v were accounted, want %v", got, want)
	}
}

func running(launched float64) pool.Machine {
	return pool.Machine{State: pool.MachineRunning, Launched: at(launched)}
}

func ended(launched, until float64) pool.Machine {
	return pool.Machine{State: pool.MachineEnded, Launched: at(launched), Ended: at(until)}
}

func TestEveryMomentIsAccountedOnce(t *testing.T) {
	for _, c := range []struct {
		what string
		play func(b *bill)
		want float64
	}{
		{"until a minute ago", func(b *bill) { b.list(5, running(0)); b.steps(5) }, 4},
		{"not beyond the last list", func(b *bill) { b.list(5, running(0)); b.steps(50) }, 4},
		{"again and again", func(b *bill) {
			for i := range 200 {
				b.list(float64(i), running(0))
				b.steps(float64(i))
				b.steps(float64(i))
			}
		}, 198},
		{"to the end that the cloud names", func(b *bill) {
			b.list(5, running(0))
			b.steps(5)
			b.list(20, ended(0, 7.5))
			b.steps(20)
			b.steps(21)
		}, 7.5},
		{"nobody looked while it lived", func(b *bill) { b.list(130, ended(0, 125)); b.steps(130) }, 125},
		{"the list of its end comes before the margin is over", func(b *bill) {
			b.list(5, ended(0, 4.5))
			b.steps(5)
			b.list(6, ended(0, 4.5))
			b.steps(6)
		}, 4.5},
		{"no end is named: when it was first listed as ended", func(b *bill) {
			b.list(5, running(0))
			b.steps(5)
			gone := pool.Machine{State: pool.MachineEnding, Launched: at(0)}
			b.list(6, gone)
			b.list(8, gone)
			b.steps(20)
		}, 6},
		{"missing for long: until a minute before it was listed last", func(b *bill) {
			b.list(5, running(0))
			b.steps(5)
			b.list(5.5)
			b.steps(10)
			b.list(11)
			b.steps(11)
			b.list(12)
			b.steps(100)
		}, 4},
		{"missing for a while", func(b *bill) {
			b.list(5, running(0))
			b.list(6)
			b.steps(20)
			b.list(30, running(0))
			b.steps(30)
		}, 29},
		{"a clock that goes back", func(b *bill) {
			b.list(50, running(0))
			b.steps(50)
			b.list(20, running(0))
			b.steps(20)
			b.list(51, running(0))
			b.steps(51)
		}, 50},
		{"a clock that was an hour ahead", func(b *bill) {
			b.list(100, running(0))
			b.steps(100)
			b.list(41, ended(0, 40))
			b.steps(41)
		}, 40},
		{"stopped, and started again", func(b *bill) {
			b.list(5, running(0))
			b.list(10, pool.Machine{State: pool.MachineStopped, Launched: at(0), Ended: at(8)})
			b.steps(10)
			b.list(25, running(20))
			b.steps(25)
		}, 12},
		{"an ended machine stays on the list", func(b *bill) {
			for i := range 300 {
				b.list(float64(i), ended(-10, 0))
				b.steps(float64(i))
			}
		}, 10},
		{"the pool is destroyed", func(b *bill) {
			b.list(5, running(0))
			b.steps(5)
			b.settled = true
			b.list(6.5, ended(0, 6.25))
			b.steps(6.5)
		}, 6.25},
		{"the pool is destroyed, and no list shows the end", func(b *bill) {
			b.list(5, running(0))
			b.steps(5)
			b.list(6, running(0))
			b.settled = true
			b.list(6.5)
			b.steps(6.5)
		}, 5},
		{"the pool is destroyed, and the list lags behind", func(b *bill) {
			b.settled = true
			b.list(5, running(0))
			b.steps(5)
		}, 4},
		{"a new planner finds the Ledger", func(b *bill) {
			b.list(5, running(0))
			b.steps(5)
			b.seen = listings{}
			b.steps(30) // it has no list yet
			b.list(31, running(0))
			b.steps(31)
		}, 30},
		{"a new planner lists it late", func(b *bill) {
			b.list(5, running(0))
			b.steps(5)
			b.seen = listings{}
			b.list(30)
			b.steps(36) // it is taken to have ended
			b.list(40, running(0))
			b.steps(40)
		}, 39},
		{"a planner that has planned before", func(b *bill) {
			b.list(0) // the machine is launched under another planner
			b.seen.begin()
			b.ledger.Meters = []store.Meter{{Machine: "m", Begun: at(50).UnixMicro(), Through: at(50).UnixMicro()}}
			b.steps(100) // no new list shows what there is
			if _, billed := b.ledger.Through(); !billed {
				b.Error("it is taken to have ended")
			}
			b.list(101, running(50))
			b.steps(101)
		}, 50},
	} {
		t.Run(c.what, func(t *testing.T) {
			b := &bill{T: t}
			c.play(b)
			b.want(c.want)
			var sum int64
			for _, m := range b.ledger.Meters {
				sum += m.Through - m.Begun
			}
			if sum != b.total {
				t.Errorf("the Ledger says %d, and %d were accounted", sum, b.total)
			}
		})
	}
}

func TestMachinesOfThePastAreForgotten(t *testing.T) {
	b := &bill{T: t}
	b.list(5, ended(0, 3))
	b.steps(5)
	b.list(6)
	b.steps(100)
	if len(b.ledger.Meters) != 1 {
		t.Errorf("after 100 min: %v", b.ledger.Meters)
	}
	b.list(200)
	b.steps(200)
	if len(b.ledger.Meters) != 0 {
		t.Errorf("after 200 min: %v", b.ledger.Meters)
	}
	b.want(3)
}

// TestMachinesThatLeftTheListsUnseen: the next planner finds a machine in the Ledger that no list shows any more. It must not
// hold up the bill for ever.
func TestMachinesThatLeftTheListsUnseen(t *testing.T) {
	b := &bill{T: t}
	b.list(5, running(0))
	b.steps(5)
	b.seen = listings{}
	b.steps(300) // no list proves anything yet
	if through, billed := b.ledger.Through(); !billed || !through.Equal(at(4)) {
		t.Errorf("before a list: %v, %v", through, billed)
	}
	b.list(300)
	b.steps(304)
	if _, billed := b.ledger.Through(); !billed {
		t.Error("it has ended although it was missing for 4 min alone")
	}
	b.steps(306)
	if through, billed := b.ledger.Through(); billed {
		t.Errorf("it is billed until %v", through)
	}
	if len(b.ledger.Meters) != 0 {
		t.Errorf("it stays in the Ledger: %v", b.ledger.Meters)
	}
	b.want(4)
}
