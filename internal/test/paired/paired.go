// Package paired is a kit for benchmarks that compare two ways to the same end. It does both in turns, in one process, so that
// the other work of the machine meets both alike. No program links it.
package paired

import (
	"math/rand/v2"
	"slices"
	"testing"
	"time"
)

// Times has the times of two ways. Element i of A and element i of B were measured one right after the other.
type Times struct{ A, B []time.Duration }

// Run measures pairs, and changes the order with each, so that neither way is always the second.
func (t *Times) Run(pairs int, a, b func() time.Duration) {
	for range pairs {
		if len(t.A)%2 == 0 {
			t.A = append(t.A, a())
			t.B = append(t.B, b())
		} else {
			second := b()
			t.A = append(t.A, a())
			t.B = append(t.B, second)
		}
	}
}

// An Estimate is a number with an interval that holds the true one in 95 of 100 cases.
type Estimate struct{ Value, Low, High float64 }

// Ratio returns the median of A by the median of B.
func (t *Times) Ratio() Estimate {
	return t.bootstrap(func(a, b time.Duration) float64 { return float64(a) / float64(b) })
}

// Difference returns the median of A less the median of B, in milliseconds.
func (t *Times) Difference() Estimate {
	return t.bootstrap(func(a, b time.Duration) float64 { return milliseconds(a - b) })
}

// resamples is how often the pairs are drawn anew.
const resamples = 2000

// bootstrap draws as many pairs as there are, with repetitions, and compares their medians. It does so many times: 95 of 100 results
// are in the interval. The same times always give the same interval.
func (t *Times) bootstrap(compare func(a, b time.Duration) float64) Estimate {
	random := rand.New(rand.NewPCG(1, 2))
	n := len(t.A)
	a, b := make([]time.Duration, n), make([]time.Duration, n)
	found := make([]float64, resamples)
	for i := range found {
		for j := range n {
			k := random.IntN(n)
			a[j], b[j] = t.A[k], t.B[k]
		}
		found[i] = compare(median(a), median(b))
	}
	slices.Sort(found)
	return Estimate{
		Value: compare(median(slices.Clone(t.A)), median(slices.Clone(t.B))),
		Low:   found[resamples*25/1000], High: found[resamples*975/1000-1],
	}
}

// median sorts the times.
func median(times []time.Duration) time.Duration {
	slices.Sort(times)
	n := len(times)
	return (times[(n-1)/2] + times[n/2]) / 2
}

func milliseconds(d time.Duration) float64 { return d.Seconds() * 1e3 }

// Report reports the medians in milliseconds, their ratio and their difference, each with its interval.
func (t *Times) Report(b *testing.B, nameA, nameB string) {
	b.Helper()
	ratio, difference := t.Ratio(), t.Difference()
	b.ReportMetric(0, "ns/op")
	b.ReportMetric(milliseconds(median(slices.Clone(t.A))), "ms/"+nameA)
	b.ReportMetric(milliseconds(median(slices.Clone(t.B))), "ms/"+nameB)
	b.ReportMetric(ratio.Value, "ratio")
	b.ReportMetric(ratio.Low, "ratio-low")
	b.ReportMetric(ratio.High, "ratio-high")
	b.ReportMetric(difference.Value, "ms-more")
	b.ReportMetric(difference.Low, "ms-more-low")
	b.ReportMetric(difference.High, "ms-more-high")
	b.Logf("%d pairs: %s is %.3f times %s (95 %%: %.3f to %.3f), %+.2f ms (%+.2f to %+.2f); the shortest took %.2f and %.2f ms",
		len(t.A), nameA, ratio.Value, nameB, ratio.Low, ratio.High, difference.Value, difference.Low, difference.High,
		milliseconds(slices.Min(t.A)), milliseconds(slices.Min(t.B)))
}
