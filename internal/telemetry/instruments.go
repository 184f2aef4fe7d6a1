package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/metric/noop"
)

// The keys of attributes. None names a user, a task or a session.
const (
	keyError      = attribute.Key("error.type")
	keyKind       = attribute.Key("berth.session.start.kind")
	keyPhase      = attribute.Key("berth.session.phase")
	keyEnd        = attribute.Key("berth.session.end.reason")
	keyState      = attribute.Key("berth.state")
	keyOperation  = attribute.Key("berth.operation")
	keyStream     = attribute.Key("berth.stream")
	keyLease      = attribute.Key("berth.lease")
	keyPart       = attribute.Key("berth.part")
	keyLoss       = attribute.Key("berth.loss")
	keyCondition  = attribute.Key("berth.condition")
	keyRepository = attribute.Key("berth.repository")
)

// instruments are those that record what happens when it happens. docs/metrics.md describes them.
type instruments struct {
	starts, phases, commands, cloud, engine, store, snapshots, ticks metric.Float64Histogram
	ended, endangered, bytes, renewals, snapshotBytes                metric.Int64Counter
}

// Buckets in seconds. A call to a store in memory takes microseconds, and a machine boots in a minute.
var (
	quick = []float64{.0001, .00025, .0005, .001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30}
	slow  = []float64{.005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600, 1800}
)

func (i *instruments) init(t *Telemetry) {
	i.starts = t.histogram("berth.session.start.duration", slow, "Duration of calls of CreateSession.")
	i.phases = t.histogram("berth.session.phase.duration", slow, "Duration of the phases of the starts of sessions.")
	i.commands = t.histogram("berth.command.duration", slow, "Duration of commands in sessions.")
	i.cloud = t.histogram("berth.cloud.call.duration", slow, "Duration of calls to the cloud.")
	i.engine = t.histogram("berth.engine.call.duration", quick, "Duration of calls to container engines and to the agents of containers.")
	i.store = t.histogram("berth.store.call.duration", quick, "Duration of calls to the store.")
	i.snapshots = t.histogram("berth.snapshot.call.duration", slow, "Duration of calls to the store of snapshots.")
	i.ticks = t.histogram("berth.planner.tick.duration", quick, "Duration of the planner's looks at the pool.")
	i.ended = t.counter("berth.session.ended", "{session}", "Sessions that have ended.")
	i.endangered = t.counter("berth.session.endangered", "{session}", "Sessions whose instance is about to be taken back.")
	i.bytes = t.counter("berth.command.io", "By", "Bytes of the streams of commands.")
	i.snapshotBytes = t.counter("berth.snapshot.io", "By", "Bytes of snapshots that were stored and read.")
	i.renewals = t.counter("berth.lease.renewals", "{renewal}", "Renewals of leases in the store.")
}

// histogram makes a histogram of seconds. A provider that fails gives one that records nothing.
func (t *Telemetry) histogram(name string, buckets []float64, description string) (h metric.Float64Histogram) {
	h = noop.Float64Histogram{}
	t.guarded(func() {
		made, err := t.meter.Float64Histogram(name, metric.WithUnit("s"), metric.WithDescription(description),
			metric.WithExplicitBucketBoundaries(buckets...))
		h = t.madeOf(h, made, err).(metric.Float64Histogram)
	})
	return h
}

// counter is histogram for a counter.
func (t *Telemetry) counter(name, unit, description string) (c metric.Int64Counter) {
	c = noop.Int64Counter{}
	t.guarded(func() {
		made, err := t.meter.Int64Counter(name, metric.WithUnit(unit), metric.WithDescription(description))
		c = t.madeOf(c, made, err).(metric.Int64Counter)
	})
	return c
}

// madeOf returns what a provider has made, or none if it has failed.
func (t *Telemetry) madeOf(none, made any, err error) any {
	if err != nil {
		t.log.Warn("an instrument cannot be made", "err", err)
	}
	if made == nil {
		return none
	}
	return made
}

// enabled reports whether anything listens to an instrument. Then its duration is worth being taken.
func (t *Telemetry) enabled(ctx context.Context, h metric.Float64Histogram) (yes bool) {
	if t == nil {
		return false
	}
	defer t.guard()
	return h.Enabled(ctx)
}

// record records a duration.
func (t *Telemetry) record(ctx context.Context, h metric.Float64Histogram, took time.Duration, options ...metric.RecordOption) {
	defer t.guard()
	h.Record(ctx, took.Seconds(), options...)
}

// counts reports whether anything listens to a counter.
func (t *Telemetry) counts(c metric.Int64Counter) (yes bool) {
	defer t.guard()
	return c.Enabled(context.Background())
}

// count adds one to a counter.
func (t *Telemetry) count(c metric.Int64Counter, attributes ...attribute.KeyValue) {
	defer t.guard()
	c.Add(context.Background(), 1, metric.WithAttributes(attributes...))
}

// withError adds the error.type of an error to attributes.
func withError(word string, attributes ...attribute.KeyValue) metric.MeasurementOption {
	if word != "" {
		attributes = append(attributes, keyError.String(word))
	}
	return metric.WithAttributes(attributes...)
}
