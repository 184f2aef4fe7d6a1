//go:build unix

package telemetry_test

import (
	"context"
	"fmt"
	"runtime"
	"sync"
	"testing"
	"time"

	metricnoop "go.opentelemetry.io/otel/metric/noop"
	sdkmetric "go.opentelemetry.io/otel/sdk/metric"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	tracenoop "go.opentelemetry.io/otel/trace/noop"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/paired"
)

// controlPlane is a pool over fakes that take no time, with sessions in its containers that stay.
type controlPlane struct {
	b    *testing.B
	p    *berth.Provider
	made int
}

const (
	repositories = 50
	batch        = 1000 // pairs that are measured together
)

func newControlPlane(b *testing.B, cfg berth.Config) *controlPlane {
	cfg.MaxTasksPerInstance, cfg.MaxInstances, cfg.SpareSlots = 2000, 2, 2000
	p, err := fake.NewProvider(fake.Options{Config: cfg, Instant: true})
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { p.Close() })
	c := &controlPlane{b: b, p: p}
	for range repositories {
		c.create()
	}
	return c
}

func (c *controlPlane) create() *berth.Session {
	c.made++
	s, err := c.p.CreateSession(context.Background(), berth.SessionRequest{
		TaskID: fmt.Sprintf("task%d", c.made), UserID: fmt.Sprintf("user%d", c.made%50),
		Repository: fmt.Sprintf("https://git.example/org/repo%d.git", c.made%repositories),
	})
	if err != nil {
		c.b.Fatal(err)
	}
	return s
}

// pairs takes the processor time of some sessions that join a container and end, one after another.
func (c *controlPlane) pairs() time.Duration {
	began := cpu()
	for range batch {
		if err := c.p.TerminateSession(context.Background(), c.create().ID()); err != nil {
			c.b.Fatal(err)
		}
	}
	return cpu() - began
}

// memory keeps the last spans that were exported.
type memory struct {
	mu   sync.Mutex
	last []sdktrace.ReadOnlySpan
}

// ExportSpans implements the SDK's SpanExporter.
func (m *memory) ExportSpans(_ context.Context, spans []sdktrace.ReadOnlySpan) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.last = append(m.last[:0], spans...)
	return nil
}

// Shutdown implements the SDK's SpanExporter.
func (m *memory) Shutdown(context.Context) error { return nil }

func metrics() *sdkmetric.MeterProvider {
	return sdkmetric.NewMeterProvider(sdkmetric.WithReader(sdkmetric.NewManualReader()))
}

// allocations returns how often a pair allocates memory.
func (c *controlPlane) allocations() float64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	c.pairs()
	runtime.ReadMemStats(&after)
	return float64(after.Mallocs-before.Mallocs) / batch
}

// BenchmarkControlPlane compares CreateSession and TerminateSession with what berth tells OpenTelemetry, and without. "exported":
// the SDK keeps metrics and all traces in memory; "sampled": of one trace in ten; "metrics": without traces. "none": no provider is installed. The ratio is of processor times: 0.9 times the speed is
// a ratio of 1.11, and 0.99 times is 1.01. TestNoProviderNoAllocation holds that the latter allocates nothing.
// allocs-more/pair counts what is allocated elsewhere, too.
func BenchmarkControlPlane(b *testing.B) {
	off := berth.Config{MeterProvider: metricnoop.NewMeterProvider(), TracerProvider: tracenoop.NewTracerProvider()}
	for _, with := range []struct {
		name string
		make func() berth.Config
	}{
		{"exported", func() berth.Config {
			return berth.Config{MeterProvider: metrics(), TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(new(memory)))}
		}},
		{"sampled", func() berth.Config {
			sampler := sdktrace.WithSampler(sdktrace.ParentBased(sdktrace.TraceIDRatioBased(0.1)))
			return berth.Config{
				MeterProvider: metrics(), TracerProvider: sdktrace.NewTracerProvider(sdktrace.WithBatcher(new(memory)), sampler),
			}
		}},
		{"metrics", func() berth.Config {
			return berth.Config{MeterProvider: metrics(), TracerProvider: tracenoop.NewTracerProvider()}
		}},
		{"none", func() berth.Config { return berth.Config{} }},
	} {
		b.Run(with.name, func(b *testing.B) {
			told, plain := newControlPlane(b, with.make()), newControlPlane(b, off)
			told.pairs() // both are warm
			plain.pairs()
			var times paired.Times
			for range b.N {
				times.Run(41, told.pairs, plain.pairs)
			}
			times.Report(b, with.name, "off")
			b.ReportMetric(told.allocations()-plain.allocations(), "allocs-more/pair")
		})
	}
}
