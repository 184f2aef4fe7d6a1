package pool_test

import (
	"testing"
)

// figure is a result of a scenario in virtual time, and its highest allowed value.
type figure struct {
	value float64
	unit  string
	most  float64
}

// scenario measures something in a bubble of its own. A test and a benchmark share it.
type scenario func(t *testing.T) []figure

// check runs a scenario as a test.
func (measure scenario) check(t *testing.T) {
	t.Helper()
	for _, f := range measure(t) {
		f.check(t)
	}
}

func (f figure) check(tb testing.TB) {
	tb.Helper()
	if f.value > f.most {
		tb.Errorf("%.3f %s, of at most %.3f", f.value, f.unit, f.most)
	}
}

// report runs a scenario as a benchmark. Its figures differ between runs only by chance, so it reports the highest. A bubble
// needs a testing.T, which RunTests makes.
func (measure scenario) report(b *testing.B) {
	b.Helper()
	most := make(map[string]figure)
	for b.Loop() {
		all := func(string, string) (bool, error) { return true, nil }
		ok := testing.RunTests(all, []testing.InternalTest{{Name: b.Name(), F: func(t *testing.T) {
			for _, f := range measure(t) {
				if known, there := most[f.unit]; !there || known.value < f.value {
					most[f.unit] = f
				}
			}
		}}})
		if !ok {
			b.Fatal("the scenario failed")
		}
	}
	for unit, f := range most {
		b.ReportMetric(f.value, unit)
		f.check(b)
	}
}

// BenchmarkReady reports how much the library adds to the time from running to ready.
func BenchmarkReady(b *testing.B) {
	for name, measure := range readySoon() {
		b.Run(name, measure.report)
	}
}

// BenchmarkIdlePool reports how many calls a hundred idle instances cause in an hour.
func BenchmarkIdlePool(b *testing.B) { scenario(idlePool).report(b) }

// BenchmarkStorm reports the bounds that a thousand launches keep while machines end as fast as they come.
func BenchmarkStorm(b *testing.B) { scenario(storm).report(b) }

// BenchmarkDay reports the cost of a day of office hours, in instance-hours and as a multiple of the lowest possible cost.
func BenchmarkDay(b *testing.B) { scenario(day).report(b) }
