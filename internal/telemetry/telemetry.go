// Package telemetry owns what berth tells OpenTelemetry: every instrument and every span of the library is made here. It uses
// the API of OpenTelemetry alone. A program that installs no SDK pays for a few atomic loads.
//
// Most of it are decorators: of the store, the cloud and the engine. The parts of berth that do something which no decorator
// sees call a method of a *Telemetry. A nil *Telemetry tells nothing.
//
// A provider is foreign code. It is never called under a lock of berth, and a panic in it is logged once and goes no further.
// A provider that blocks delays its caller, and nothing else.
package telemetry

import (
	"context"
	"fmt"
	"log/slog"
	"reflect"
	"sync"

	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/metric"
	metricnoop "go.opentelemetry.io/otel/metric/noop"
	"go.opentelemetry.io/otel/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"
)

// Scope is the name of the instrumentation scope of all that berth tells.
const Scope = "github.com/berth-go/berth"

// Config configures a Telemetry.
type Config struct {
	Meters  metric.MeterProvider // nil = the process's global one
	Tracers trace.TracerProvider // nil = the process's global one
	// Repositories is how many repositories metrics name. See berth.Config.MetricRepositories.
	Repositories int
	Logger       *slog.Logger
}

// A Telemetry tells OpenTelemetry what one Provider does. All methods are safe for concurrent use.
type Telemetry struct {
	meter        metric.Meter
	instruments  instruments
	observables  observables
	calls        calls
	phases       phases
	repositories *repositories

	tracer trace.Tracer
	global bool // tracer is the process's global one, which tells nothing before an SDK is installed

	log      *slog.Logger
	panicked sync.Once // a panic of a provider is logged
}

// New returns a Telemetry. It is nil if both providers are those of OpenTelemetry's packages noop.
func New(cfg Config) *Telemetry {
	_, noMetrics := cfg.Meters.(metricnoop.MeterProvider)
	_, noTraces := cfg.Tracers.(tracenoop.TracerProvider)
	if noMetrics && noTraces {
		return nil
	}
	if cfg.Meters == nil {
		cfg.Meters = otel.GetMeterProvider()
	}
	t := &Telemetry{log: cfg.Logger, repositories: newRepositories(cfg.Repositories)}
	if cfg.Tracers == nil {
		t.global, cfg.Tracers = true, otel.GetTracerProvider()
	}
	t.meter, t.tracer = metricnoop.Meter{}, tracenoop.Tracer{}
	t.guarded(func() { t.meter = cfg.Meters.Meter(Scope) })
	t.guarded(func() { t.tracer = cfg.Tracers.Tracer(Scope) })
	t.instruments.init(t)
	t.calls.init(t)
	t.phases = t.newPhases()
	return t
}

// unset is the global TracerProvider as long as the program has installed none. It is nil if the program had installed one
// before this package was initialized.
var unset = func() trace.TracerProvider {
	p := otel.GetTracerProvider()
	_, span := p.Tracer(Scope).Start(context.Background(), "probe")
	if span.SpanContext().IsValid() || !reflect.TypeOf(p).Comparable() {
		span.End()
		return nil
	}
	return p
}()

// traces reports whether spans go anywhere. It spares the allocations of spans that tell nothing.
func (t *Telemetry) traces() bool {
	return t != nil && (!t.global || unset == nil || otel.GetTracerProvider() != unset)
}

// guard ends a panic of a provider. It is deferred.
func (t *Telemetry) guard() {
	if r := recover(); r != nil {
		t.panicked.Do(func() {
			t.log.Warn("a provider of OpenTelemetry panics; berth goes on without it, and does not log that again", "panic", fmt.Sprint(r))
		})
	}
}

// guarded calls a provider.
func (t *Telemetry) guarded(call func()) {
	defer t.guard()
	call()
}
