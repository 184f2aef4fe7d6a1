package telemetry_test

import (
	"context"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	sdk "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/pool"
)

// series are the values of an instrument by their attributes, as in "error.type=exit": the value of a number, and the count of a
// histogram.
type series map[string]float64

// exported is an instrument as the SDK exports it.
type exported struct {
	unit, kind string
	keys       map[string]bool
	series     series
}

// collect returns all instruments by name.
func collect(t *testing.T, reader sdk.Reader) map[string]*exported {
	t.Helper()
	var all metricdata.ResourceMetrics
	if err := reader.Collect(context.Background(), &all); err != nil {
		t.Fatal(err)
	}
	found := make(map[string]*exported)
	for _, scope := range all.ScopeMetrics {
		if scope.Scope.Name != telemetry.Scope {
			t.Errorf("the scope is %q", scope.Scope.Name)
		}
		for _, m := range scope.Metrics {
			e := &exported{unit: m.Unit, keys: make(map[string]bool), series: make(series)}
			found[m.Name] = e
			switch data := m.Data.(type) {
			case metricdata.Histogram[float64]:
				e.kind = "histogram"
				for _, p := range data.DataPoints {
					e.add(p.Attributes.Encoded(encoder{}), float64(p.Count))
				}
			case metricdata.Sum[int64]:
				e.kind = "updowncounter"
				if data.IsMonotonic {
					e.kind = "counter"
				}
				for _, p := range data.DataPoints {
					e.add(p.Attributes.Encoded(encoder{}), float64(p.Value))
				}
			case metricdata.Gauge[int64]:
				e.kind = "gauge"
				for _, p := range data.DataPoints {
					e.add(p.Attributes.Encoded(encoder{}), float64(p.Value))
				}
			case metricdata.Gauge[float64]:
				e.kind = "gauge"
				for _, p := range data.DataPoints {
					e.add(p.Attributes.Encoded(encoder{}), p.Value)
				}
			default:
				t.Errorf("%s is a %T", m.Name, data)
			}
		}
	}
	return found
}

func (e *exported) add(attributes string, n float64) {
	e.series[attributes] = n
	for _, pair := range strings.Split(attributes, ",") {
		if key, _, ok := strings.Cut(pair, "="); ok {
			e.keys[key] = true
		}
	}
}

// A life is a world whose metrics are collected.
func life(t *testing.T, s world.Setup, test func(t *testing.T, w *world.World, read func() map[string]*exported)) {
	reader := sdk.NewManualReader()
	s.Config.MeterProvider = sdk.NewMeterProvider(sdk.WithReader(reader))
	world.Run(t, s, func(t *testing.T, w *world.World) {
		test(t, w, func() map[string]*exported { return collect(t, reader) })
	})
}

func want(t *testing.T, all map[string]*exported, name, attributes string, n float64) {
	t.Helper()
	e := all[name]
	if e == nil {
		t.Errorf("%s is not exported", name)
		return
	}
	if got, ok := e.series[attributes]; !ok || got != n {
		t.Errorf("%s{%s} is %v (%v); want %v of %v", name, attributes, got, ok, n, e.series)
	}
}

// everything makes something of each kind happen, and returns what is exported in the middle and at the end.
func everything(t *testing.T, w *world.World, read func() map[string]*exported) (middle, end map[string]*exported) {
	ctx := t.Context()
	first := w.Create("t1", world.RepoA)
	w.Create("t2", world.RepoA)
	waiting := world.Creating(ctx, w.Provider, world.Request("t3", world.RepoB))
	if _, err := w.CreateSession(ctx, world.Request("t1", world.RepoA)); err != nil {
		t.Fatal(err)
	}
	if _, err := w.CreateSession(ctx, world.Request("t2", world.RepoB)); err == nil {
		t.Fatal("a task has got a second session")
	}
	cmd := first.Command(ctx, "cat")
	cmd.Stdin = strings.NewReader("hello")
	if _, err := cmd.Output(); err != nil {
		t.Fatal(err)
	}
	if err := first.Command(ctx, "false").Run(); err == nil {
		t.Fatal("false has succeeded")
	}
	if _, err := first.Snapshot(ctx, "monday"); err != nil {
		t.Fatal(err)
	}
	world.After(2 * time.Minute) // the planner has looked at all
	middle = read()
	w.Terminate(first)
	r := <-waiting
	if r.Err != nil {
		t.Fatal(r.Err)
	}
	world.After(10 * time.Minute) // a younger lease is not renewed
	if err := r.Session.KeepAlive(ctx); err != nil {
		t.Fatal(err)
	}
	instance := r.Session.Info().Instance.ID
	w.Cloud.Foretell(instance, pool.OutlookInterrupted, "a notice")
	world.After(time.Minute)
	w.Cloud.Interrupt(instance)
	world.After(10 * time.Minute)
	return middle, read()
}

// cat echoes its input, and false fails.
func cat(_ context.Context, cmd fake.Command) int {
	if cmd.Args[0] == "false" {
		return 1
	}
	buffer := make([]byte, 100)
	n, _ := cmd.Stdin.Read(buffer)
	fmt.Fprint(cmd.Stdout, string(buffer[:n]))
	return 0
}

func everythingSetup() world.Setup {
	return world.Setup{
		Config: berth.Config{
			MaxInstances: 1, MaxTasksPerInstance: 2, MetricRepositories: 1, Snapshots: fake.NewSnapshots(fake.SnapshotOptions{}),
		},
		Engine: fake.EngineOptions{Run: cat, Latency: fake.Latency{Pull: 5 * time.Second}},
	}
}

func TestInstrumentsTellOfALife(t *testing.T) {
	life(t, everythingSetup(), func(t *testing.T, w *world.World, read func() map[string]*exported) {
		middle, end := everything(t, w, read)
		const a, other = "berth.repository=github.com/acme/rocket", "berth.repository=_OTHER"
		want(t, middle, "berth.session.start.duration", a+",berth.session.start.kind=cold", 1)
		want(t, middle, "berth.session.start.duration", a+",berth.session.start.kind=attached", 1)
		want(t, middle, "berth.session.start.duration", a+",berth.session.start.kind=existing", 1)
		want(t, middle, "berth.session.start.duration", other+",error.type=task_conflict", 1)
		want(t, middle, "berth.session.phase.duration", "berth.session.phase=pull", 1)
		want(t, middle, "berth.session.phase.duration", "berth.session.phase=create", 1)
		want(t, middle, "berth.session.phase.duration", "berth.session.phase=checkout", 2)
		want(t, middle, "berth.session.count", "berth.state=active", 2)
		want(t, middle, "berth.session.count", "berth.state=creating", 1)
		want(t, middle, "berth.queue.length", "", 1)
		want(t, middle, "berth.slot.count", "berth.state=used", 2)
		want(t, middle, "berth.slot.count", "berth.state=free", 0)
		want(t, middle, "berth.instance.count", "berth.state=ready", 1)
		want(t, middle, "berth.container.count", "berth.state=ready", 1)
		want(t, middle, "berth.planner.count", "", 1)
		want(t, middle, "berth.instance.launches", "", 1)
		want(t, middle, "berth.command.duration", "", 1)
		want(t, middle, "berth.command.duration", "error.type=exit", 1)
		want(t, middle, "berth.command.io", "berth.stream=stdin", 5)
		want(t, middle, "berth.command.io", "berth.stream=stdout", 5)
		want(t, middle, "berth.cloud.call.duration", "berth.operation=launch", 1)
		want(t, middle, "berth.pool.condition", "berth.condition=frozen", 0)
		if waited := middle["berth.queue.wait.longest"].series[""]; waited < 100 {
			t.Errorf("the longest wait is %v s", waited)
		}
		want(t, end, "berth.session.ended", "berth.repository=github.com/acme/rocket,berth.session.end.reason=terminated", 1)
		want(t, end, "berth.session.ended", "berth.repository=_OTHER,berth.session.end.reason=instance lost", 1)
		want(t, end, "berth.session.endangered", "", 2)
		want(t, end, "berth.session.phase.duration", "berth.session.phase=queue", 2) // one has waited for the instance to boot
		want(t, end, "berth.instance.lost", "berth.loss=interrupted", 1)
		want(t, end, "berth.lease.renewals", "berth.lease=session", 1)
	})
}

// row matches a row of the table of instruments.
var row = regexp.MustCompile("(?m)^\\| `(berth\\.[a-z._]+)` \\| `([^`]+)` \\| (\\w+) \\|([^|]*)\\| ([^|]+) \\|$")

// TestInstrumentsAreDocumented holds the table of docs/metrics.md to what a run exports. No attribute names a user, a task or a
// session.
func TestInstrumentsAreDocumented(t *testing.T) {
	doc, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	life(t, everythingSetup(), func(t *testing.T, w *world.World, read func() map[string]*exported) {
		middle, end := everything(t, w, read)
		for name, e := range middle {
			if end[name] == nil {
				end[name] = e
			}
		}
		for _, found := range row.FindAllStringSubmatch(string(doc), -1) {
			name, e := found[1], end[found[1]]
			if e == nil {
				t.Errorf("%s is documented, and not exported", name)
				continue
			}
			delete(end, name)
			if e.unit != found[2] || e.kind != found[3] {
				t.Errorf("%s is a %s in %s; the document says %s in %s", name, e.kind, e.unit, found[3], found[2])
			}
			var documented []string
			for _, key := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(found[4], -1) {
				documented = append(documented, key[1])
				if key[1] != "error.type" && !e.keys[key[1]] {
					t.Errorf("%s has no %s", name, key[1])
				}
			}
			for key := range e.keys {
				if !slices.Contains(documented, key) {
					t.Errorf("%s has %s, which is not documented", name, key)
				}
			}
			for attributes := range e.series {
				for _, secret := range []string{world.User, "t1", "t2", "s-", "i-"} {
					if regexp.MustCompile(`=` + secret + `\w*(,|$)`).MatchString(attributes) {
						t.Errorf("%s{%s} names a user, a task, a session or an instance", name, attributes)
					}
				}
			}
		}
		for name := range end {
			t.Errorf("%s is exported, and not documented", name)
		}
	})
}
