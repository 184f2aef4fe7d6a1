package pool

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

// fullPool is a pool of n instances with ten slots each: busy, idle, booting and leaving ones, some old, some of
// another generation, some with an outlook, and a queue.
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
			facts = append(facts, instance(id, ready, version("2"), sessions(i%11)))
		}
	}
	return snapshotOf(facts...), testConfig(func(c *Config) { c.MaxInstances = n * 11 / 10; c.SpareSlots = n / 20 })
}

// BenchmarkPlan plans. With 1,000 instances a plan takes well below 10 ms, and the time for each instance does not grow
// with their number.
func BenchmarkPlan(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, cfg := fullPool(n)
			b.ReportAllocs()
			for b.Loop() {
				if len(plan(s, cfg, t0)) == 0 {
					b.Fatal("there is something to do")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/instance")
		})
	}
}

// BenchmarkTick puts what the cloud lists beside what is stored, and plans: all of a tick but the reading.
func BenchmarkTick(b *testing.B) {
	for _, n := range []int{100, 1000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			s, cfg := fullPool(n)
			m := NewManager(cfg)
			m.sights, m.strangers, m.listedAt = map[string]*sight{}, map[string]*sight{}, t0
			for _, machine := range s.machines {
				m.machines = append(m.machines, machine)
			}
			b.ReportAllocs()
			for b.Loop() {
				now := snapshot{pool: store.Pool{UID: "u"}, instances: s.instances, demand: s.demand}
				m.note(&now, t0.Add(time.Second))
				if len(plan(now, m.cfg, t0.Add(time.Second))) == 0 {
					b.Fatal("there is something to do")
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/float64(n), "ns/instance")
		})
	}
}
