package pool

import (
	"fmt"
	"testing"
)

// BenchmarkPlan plans a pool of 1,000 instances: busy, idle, booting and leaving ones, with a queue.
func BenchmarkPlan(b *testing.B) {
	facts := []given{demand(200)}
	for i := range 1000 {
		id := fmt.Sprintf("launch-%04d", i)
		switch i % 10 {
		case 0:
			facts = append(facts, instance(id, booting))
		case 1:
			facts = append(facts, instance(id, ready))
		case 2:
			facts = append(facts, instance(id, terminating, terminated))
		default:
			facts = append(facts, instance(id, ready, sessions(i%11)))
		}
	}
	s := snapshotOf(facts...)
	cfg := testConfig(func(c *Config) { c.MaxInstances = 1100; c.SpareSlots = 50 })
	b.ReportAllocs()
	for b.Loop() {
		if len(plan(s, cfg, t0)) == 0 {
			b.Fatal("there is something to do")
		}
	}
}
