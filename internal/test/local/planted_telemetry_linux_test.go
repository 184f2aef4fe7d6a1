package local_test

import (
	"context"
	"encoding/json"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	"go.opentelemetry.io/otel/sdk/metric/metricdata"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

// telemetry is an SDK of OpenTelemetry, whose metrics and traces are searched.
type telemetry struct {
	reader  *sdkmetric.ManualReader
	meters  *sdkmetric.MeterProvider
	tracers *sdktrace.TracerProvider
}

func (l *planting) newTelemetry() telemetry {
	reader := sdkmetric.NewManualReader()
	return telemetry{
		reader, sdkmetric.NewMeterProvider(sdkmetric.WithReader(reader)), sdktrace.NewTracerProvider(sdktrace.WithSyncer(spans{l})),
	}
}

// collect searches the metrics.
func (l *planting) collect() {
	l.T.Helper()
	var all metricdata.ResourceMetrics
	if err := l.telemetry.reader.Collect(context.Background(), &all); err != nil {
		l.T.Error(err)
	}
	l.lookAt("metrics", all)
}

func (l *planting) lookAt(place string, value any) {
	text, err := json.Marshal(value)
	if err != nil {
		l.T.Errorf("%s: %v", place, err)
	}
	l.search.Look(place, "OpenTelemetry", text)
}

// leakByTelemetry leaks a value in a metric and in a trace.
func (l *planting) leakByTelemetry(value string) {
	leak := attribute.String("leak", value)
	counter, err := l.telemetry.meters.Meter("leak").Int64Counter("leak")
	if err != nil {
		l.T.Fatal(err)
	}
	counter.Add(l.T.Context(), 1, metric.WithAttributes(leak))
	_, span := l.telemetry.tracers.Tracer("leak").Start(l.T.Context(), "leak", trace.WithAttributes(leak))
	span.End()
}

// spans searches the spans that have ended.
type spans struct{ l *planting }

// ExportSpans implements sdktrace.SpanExporter.
func (s spans) ExportSpans(_ context.Context, ended []sdktrace.ReadOnlySpan) error {
	s.l.lookAt("traces", tracetest.SpanStubsFromReadOnlySpans(ended))
	return nil
}

// Shutdown implements sdktrace.SpanExporter.
func (spans) Shutdown(context.Context) error { return nil }
