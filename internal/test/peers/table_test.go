package peers

import (
	"fmt"
	"slices"
	"strings"
	"testing"
)

// results are the numbers of all ways. Those of berth are the last column.
type results struct {
	ways  []string
	rows  []string                        // in the order in which they came
	found map[string]map[string][]float64 // by row and way
}

func newResults(ways []way) *results {
	r := &results{found: map[string]map[string][]float64{}}
	for _, w := range ways {
		r.ways = append(r.ways, w.name)
	}
	return r
}

func (r *results) add(w way, row string, value float64) {
	if r.found[row] == nil {
		r.rows = append(r.rows, row)
		r.found[row] = map[string][]float64{}
	}
	r.found[row][w.name] = append(r.found[row][w.name], value)
}

// report prints the table in Markdown: the median of each way, and how many times it the median of berth is.
func (r *results) report(b *testing.B) {
	berth := r.ways[len(r.ways)-1]
	var table strings.Builder
	fmt.Fprintf(&table, "medians of %d rounds; in parentheses, how many times that number berth's is\n\n| | %s |\n|---|%s\n",
		b.N, strings.Join(r.ways, " | "), strings.Repeat("---|", len(r.ways)))
	for _, row := range r.rows {
		ours := median(r.found[row][berth])
		fmt.Fprintf(&table, "| %s |", row)
		for _, w := range r.ways {
			theirs := median(r.found[row][w])
			switch {
			case w == berth:
				fmt.Fprintf(&table, " **%s** |", short(ours))
			case theirs == 0:
				fmt.Fprint(&table, " 0 |")
			default:
				fmt.Fprintf(&table, " %s (%s) |", short(theirs), short(ours/theirs))
			}
		}
		table.WriteString("\n")
	}
	b.ReportMetric(0, "ns/op")
	b.Log(table.String())
}

// short returns two digits, or all before the point.
func short(v float64) string {
	switch {
	case v >= 10:
		return fmt.Sprintf("%.0f", v)
	case v >= 1:
		return fmt.Sprintf("%.1f", v)
	}
	return fmt.Sprintf("%.2g", v)
}

func median(values []float64) float64 {
	values = slices.Sorted(slices.Values(values))
	n := len(values)
	if n == 0 {
		return 0
	}
	return (values[(n-1)/2] + values[n/2]) / 2
}

// TestTable holds the form of the table that docs/performance.md shows.
func TestTable(t *testing.T) {
	other, ours := way{name: "other"}, way{name: "berth"}
	r := newResults([]way{other, ours})
	for _, v := range []float64{30, 10, 20} {
		r.add(other, "first", v)
		r.add(ours, "first", v/8)
	}
	if got := median(r.found["first"]["other"]); got != 20 {
		t.Errorf("the median of 30, 10 and 20 is %v", got)
	}
	if got := median([]float64{4, 1}); got != 2.5 {
		t.Errorf("the median of 4 and 1 is %v", got)
	}
	for v, want := range map[float64]string{0.0834: "0.083", 2.34: "2.3", 431.4: "431"} {
		if got := short(v); got != want {
			t.Errorf("%v is written %s, want %s", v, got, want)
		}
	}
}
