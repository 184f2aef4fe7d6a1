package telemetry_test

import (
	"context"
	"strings"
	"testing"
	"time"

	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// A bad provider does something bad in each call.
type bad struct{ do func() }

type badMeters struct {
	metric.MeterProvider
	bad
}

func (b badMeters) Meter(string, ...metric.MeterOption) metric.Meter {
	return badMeter{metricnoop.Meter{}, b.bad}
}

type badMeter struct {
	metric.Meter
	bad
}

func (b badMeter) Float64Histogram(string, ...metric.Float64HistogramOption) (metric.Float64Histogram, error) {
	return badHistogram{metricnoop.Float64Histogram{}, b.bad}, nil
}

func (b badMeter) Int64Counter(string, ...metric.Int64CounterOption) (metric.Int64Counter, error) {
	return badCounter{metricnoop.Int64Counter{}, b.bad}, nil
}

type badHistogram struct {
	metric.Float64Histogram
	bad
}

func (badHistogram) Enabled(context.Context) bool                              { return true }
func (b badHistogram) Record(context.Context, float64, ...metric.RecordOption) { b.do() }

type badCounter struct {
	metric.Int64Counter
	bad
}

func (badCounter) Enabled(context.Context) bool                      { return true }
func (b badCounter) Add(context.Context, int64, ...metric.AddOption) { b.do() }

type badTracers struct {
	trace.TracerProvider
	bad
}

func (b badTracers) Tracer(string, ...trace.TracerOption) trace.Tracer {
	return badTracer{tracenoop.Tracer{}, b.bad}
}

type badTracer struct {
	trace.Tracer
	bad
}

func (b badTracer) Start(ctx context.Context, name string, options ...trace.SpanStartOption) (context.Context, trace.Span) {
	b.do()
	return b.Tracer.Start(ctx, name, options...)
}

// TestABadProviderDoesNoHarm: sessions are created, used and ended all the same, and no lease is lost.
func TestABadProviderDoesNoHarm(t *testing.T) {
	for name, do := range map[string]func(){
		"panics": func() { panic("a fault of the provider") },
		"slow":   func() { time.Sleep(50 * time.Millisecond) },
	} {
		t.Run(name, func(t *testing.T) {
			setup := world.Setup{
				Config: berth.Config{MeterProvider: badMeters{nil, bad{do}}, TracerProvider: badTracers{nil, bad{do}}},
				Engine: fake.EngineOptions{Run: cat},
			}
			world.Run(t, setup, func(t *testing.T, w *world.World) {
				s := w.Create("t1", world.RepoA)
				cmd := s.Command(t.Context(), "cat")
				cmd.Stdin = strings.NewReader("hello")
				if out, err := cmd.Output(); err != nil || string(out) != "hello" {
					t.Errorf("the command: %q, %v", out, err)
				}
				world.After(10 * time.Minute)
				w.Terminate(s)
				if stats := w.Stats(); stats.Errors+stats.Pool.Errors+stats.Containers.Errors != 0 || !stats.Planner {
					t.Errorf("%+v", stats)
				}
				if n := strings.Count(w.LogText(), "a fault of the provider"); name == "panics" && n != 1 {
					t.Errorf("the log has %d lines of the panic", n)
				}
			})
		})
	}
}

// TestNoProviderNoAllocation: without an SDK, what is told costs no memory.
func TestNoProviderNoAllocation(t *testing.T) {
	tel := telemetry.New(telemetry.Config{})
	plain := memstore.New()
	measured := tel.Store(plain)
	ctx := t.Context()
	nothing := func(store.View) error { return nil }
	view := func(st store.Store) float64 {
		return testing.AllocsPerRun(1000, func() { _ = st.View(ctx, nothing) })
	}
	if raw, got := view(plain), view(measured); got != raw {
		t.Errorf("a View allocates %v times, and %v times where it is measured", raw, got)
	}
	s := &store.Session{ID: "s-1", End: store.Failure{Reason: store.EndTerminated}}
	repo := naming.Repository{Host: "git.example", Path: "a/b"}
	told := testing.AllocsPerRun(1000, func() {
		ctx, start := tel.Start(ctx, "t1", repo)
		_ = tel.Trace(ctx)
		_, phase := tel.Phase(ctx, telemetry.PhasePlace)
		phase.End(nil)
		tel.Passed(tel.Within(ctx, ""), telemetry.PhasePlace, time.Time{}, 0)
		start.End(s, false, nil)
		_, end := tel.Termination(ctx, "s-1")
		end.End(nil)
		_ = tel.Carry(ctx, ctx)
		tel.Ended(s)
		tel.Endangered()
		tel.Renewed(telemetry.LeaseSession, nil)
	})
	if told != 0 {
		t.Errorf("what is told allocates %v times", told)
	}
}

// still is an Engine and its Host, which do nothing.
type still struct {
	orchestrator.Engine
	orchestrator.Host
	inside stillInside
}

func (s *still) Connect(context.Context, orchestrator.Endpoint) (orchestrator.Host, error) {
	return s, nil
}
func (s *still) Attach(context.Context, string) (orchestrator.Inside, error) { return &s.inside, nil }
func (s *still) Probe(context.Context) error                                 { return nil }
func (s *still) Close() error                                                { return nil }

// stillInside is an Inside that does nothing.
type stillInside struct {
	orchestrator.Inside
	process orchestrator.Process
}

func (s *stillInside) Close() error                                        { return nil }
func (s *stillInside) CloseSession(context.Context, string, int) error     { return nil }
func (s *stillInside) Renew(context.Context, string) error                 { return nil }
func (s *stillInside) Idle(context.Context, string) (time.Duration, error) { return 0, nil }
func (s *stillInside) Sessions(context.Context) (map[string]int, error)    { return nil, nil }
func (s *stillInside) Open(context.Context, agent.Session) (agent.Checkout, error) {
	return agent.Checkout{}, nil
}
func (s *stillInside) Start(context.Context, agent.Command) (orchestrator.Process, error) {
	return s.process, nil
}
func (s *stillInside) Commands(context.Context, string, uint64) ([]agent.CommandInfo, error) {
	return nil, nil
}

// TestNoProviderNoAllocationInDrivers: nor do calls to the store and to engines, and commands with their streams.
func TestNoProviderNoAllocationInDrivers(t *testing.T) {
	tel := telemetry.New(telemetry.Config{})
	ctx := t.Context()
	plain := memstore.New()
	keys := []store.Key{store.PoolKey()}
	nothing := func(store.Tx) error { return nil }
	update := func(st store.Store) float64 {
		return testing.AllocsPerRun(1000, func() { _ = st.Update(ctx, keys, nothing) })
	}
	if raw, got := update(plain), update(tel.Store(plain)); got != raw {
		t.Errorf("an Update allocates %v times, and %v times where it is measured", raw, got)
	}
	h, err := tel.Engine(&still{}).Connect(ctx, orchestrator.Endpoint{})
	if err != nil {
		t.Fatal(err)
	}
	in, err := h.Attach(ctx, "c")
	if err != nil {
		t.Fatal(err)
	}
	var out strings.Builder
	command := agent.Command{Session: "s", Args: []string{"true"}, Stdin: strings.NewReader(""), Stdout: &out, Stderr: &out}
	for what, call := range map[string]func(){
		"Probe":        func() { _ = h.Probe(ctx) },
		"Open":         func() { _, _ = in.Open(ctx, agent.Session{}) },
		"CloseSession": func() { _ = in.CloseSession(ctx, "s", 1) },
		"Renew":        func() { _ = in.Renew(ctx, "s") },
		"Idle":         func() { _, _ = in.Idle(ctx, "s") },
		"Sessions":     func() { _, _ = in.Sessions(ctx) },
		"Commands":     func() { _, _ = in.Commands(ctx, "s", 0) },
		"Start":        func() { _, _ = in.Start(ctx, command) },
	} {
		if n := testing.AllocsPerRun(1000, call); n != 0 {
			t.Errorf("%s allocates %v times", what, n)
		}
	}
}

// TestNoopProvidersTurnAllOff: nothing stands between berth and its drivers then.
func TestNoopProvidersTurnAllOff(t *testing.T) {
	off := telemetry.New(telemetry.Config{Meters: metricnoop.NewMeterProvider(), Tracers: tracenoop.NewTracerProvider()})
	if off != nil {
		t.Fatal("something is told")
	}
	st := memstore.New()
	if off.Store(st) != store.Store(st) {
		t.Error("the store is wrapped")
	}
}

// The Clouds of TestOptionalInterfacesStay.
type (
	plainCloud     struct{ pool.Cloud }
	versionedCloud struct {
		pool.Cloud
		pool.Versioned
	}
	explainingCloud struct {
		pool.Cloud
		pool.Explainer
	}
	fullCloud struct {
		pool.Cloud
		pool.Versioned
		pool.Pinned
		pool.Explainer
	}
)

// TestOptionalInterfacesStay: a Cloud that is measured can what it could before, and no more.
func TestOptionalInterfacesStay(t *testing.T) {
	tel := telemetry.New(telemetry.Config{})
	for _, cloud := range []pool.Cloud{plainCloud{}, versionedCloud{}, explainingCloud{}, fullCloud{}} {
		can := func(c pool.Cloud) (can [3]bool) {
			_, can[0] = c.(pool.Versioned)
			_, can[1] = c.(pool.Pinned)
			_, can[2] = c.(pool.Explainer)
			return can
		}
		if before, after := can(cloud), can(tel.Cloud(cloud)); before != after {
			t.Errorf("%T: %v became %v", cloud, before, after)
		}
	}
}
