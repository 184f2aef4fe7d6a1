package pool

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

// fullPool is a pool of n instances with twenty slots each and 10*n sessions: busy, idle, booting and leaving ones, some
// old, some of another generation, some with an outlook, and a queue.
func fullPool(n int) (snapshot, Config) {
	facts := []given{demand(n / 5), generation("2"), tokens(5)}
	for i := range n {
		id := fmt.Sprintf("launch-%04d", i)
		switch i % 20 {
		case 0:
			facts = append(facts, instance(id, booting))
		case 1:
			facts = append(facts, instance(id, ready, version("1"), old(8*day)))
		case 2:
			facts = append(facts, instance(id, terminating, terminated))
		case 3:
			facts = append(facts, instance(id, ready, sessions(5), foresees(OutlookRebalance)))
		case 4:
			facts = append(facts, instance(id, launching, asked))
		default:
			facts = append(facts, instance(id, ready, version("2"), sessions(i%20+1)))
		}
	}
	facts = append(facts, func(s *snapshot) {
		for _, in := range s.instances {
			in.Slots = 20
		}
	})
	return snapshotOf(facts...), testConfig(func(c *Config) { c.MaxInstances, c.SlotsPerInstance, c.SpareSlots = n*11/10, 20, n/20 })
}

// The bounds of a plan and a tick with 1,000 instances and 10,000 sessions, of a plan with ten times as many, and of how much longer each
// instance may take than with 100 instances: apart from chance, the time is linear.
const (
	mostTick   = 10 * time.Millisecond
	mostPlan   = 20 * time.Millisecond
	mostGrowth = 3
)

// eachSize measures something for some numbers of instances, with ten sessions each.
func eachSize(b *testing.B, once func(s snapshot, cfg Config) func() []action, sizes ...int) {
	perInstance := make(map[int]float64)
	for _, n := range sizes {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, cfg := fullPool(n)
			held := 0
			for _, in := range s.instances {
				held += in.Sessions
			}
			if held != 10*n {
				b.Fatalf("%d sessions on %d instances", held, n)
			}
			run := once(s, cfg)
			b.ReportAllocs()
			for b.Loop() {
				if len(run()) == 0 {
					b.Fatal("there is something to do")
				}
			}
			took := b.Elapsed() / time.Duration(b.N)
			perInstance[n] = float64(took) / float64(n)
			b.ReportMetric(perInstance[n], "ns/instance")
			b.ReportMetric(took.Seconds()*1000, "ms/tick")
			most := mostTick
			if n > 1000 {
				most = mostPlan
			}
			if took > most {
				b.Errorf("%v, of at most %v", took, most)
			}
			if few := perInstance[100]; few > 0 && n > 100 {
				b.ReportMetric(perInstance[n]/few, "x_100")
				if perInstance[n] > mostGrowth*few {
					b.Errorf("an instance takes %.1f times what it takes among 100", perInstance[n]/few)
				}
			}
		})
	}
}

// BenchmarkPlan plans.
func BenchmarkPlan(b *testing.B) {
	eachSize(b, func(s snapshot, cfg Config) func() []action {
		return func() []action { return plan(s, cfg, t0) }
	}, 100, 1000, 10_000)
}

// BenchmarkTick compares the cloud's list with the store, and plans: all of a tick except reading.
func BenchmarkTick(b *testing.B) {
	eachSize(b, func(s snapshot, cfg Config) func() []action {
		m := NewManager(cfg)
		m.observations, m.unknown, m.listedAt = map[string]*observation{}, map[string]*observation{}, t0
		for _, machine := range s.machines {
			m.machines = append(m.machines, machine)
		}
		return func() []action {
			now := snapshot{pool: store.Pool{UID: "u"}, instances: s.instances, demand: s.demand}
			m.complete(&now, t0.Add(time.Second))
			return plan(now, m.cfg, t0.Add(time.Second))
		}
	}, 100, 1000)
}
