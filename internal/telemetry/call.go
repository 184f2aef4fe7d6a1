package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// A call is one operation of a driver: how it is measured, and the name of its span.
type call struct {
	t    *Telemetry
	in   metric.Float64Histogram
	name string                // of the operation
	span string                // "" = it has none
	ok   []metric.RecordOption // the attributes of a call that succeeded, made once
	word func(error) string    // error.type
}

func (t *Telemetry) call(in metric.Float64Histogram, span, name string) *call {
	c := &call{t: t, in: in, name: name, word: errorType}
	if span != "" {
		c.span = span + " " + name
	}
	c.ok = []metric.RecordOption{metric.WithAttributes(keyOperation.String(name))}
	return c
}

// calls are the operations of all drivers.
type calls struct {
	view, update *call

	prepare, launch, list, terminate, generation, explain *call

	put, stat, read, snapshots, delete, collect *call

	connect, probe, ensure, inventory, remove, removeMirror, removeResource, attach, purge, prefetch *call
	fetch, open, closeSession, sessions, idle, renew, start, commands                                *call
	fillCaches, prepareWorkspace, attachCommand, dial, ports, answer                                 *call
	keepWork, bringWork, promote, layer, putLayer                                                    *call
}

func (c *calls) init(t *Telemetry) {
	c.view, c.update = t.call(t.instruments.store, "", "view"), t.call(t.instruments.store, "", "update")
	c.view.word, c.update.word = storeErrorType, storeErrorType
	for name, of := range map[string]**call{
		"prepare": &c.prepare, "launch": &c.launch, "list": &c.list, "terminate": &c.terminate, "generation": &c.generation,
		"explain": &c.explain,
	} {
		*of = t.call(t.instruments.cloud, "berth.cloud", name)
	}
	for name, of := range map[string]**call{
		"put": &c.put, "stat": &c.stat, "read": &c.read, "list": &c.snapshots, "delete": &c.delete, "collect": &c.collect,
	} {
		*of = t.call(t.instruments.snapshots, "berth.snapshot", name)
		(*of).word = snapshotErrorType
	}
	for name, of := range map[string]**call{
		"connect": &c.connect, "probe": &c.probe, "ensure": &c.ensure, "list": &c.inventory, "remove": &c.remove,
		"remove_mirror": &c.removeMirror, "remove_resource": &c.removeResource, "attach": &c.attach, "purge": &c.purge,
		"prefetch": &c.prefetch, "fetch": &c.fetch, "open": &c.open, "close_session": &c.closeSession, "sessions": &c.sessions,
		"idle": &c.idle, "renew": &c.renew, "start": &c.start, "commands": &c.commands,
		"fill_caches": &c.fillCaches, "prepare": &c.prepareWorkspace, "attach_command": &c.attachCommand, "dial": &c.dial,
		"ports": &c.ports, "answer_question": &c.answer, "keep_work": &c.keepWork, "bring_work": &c.bringWork, "promote": &c.promote,
		"layer": &c.layer, "put_layer": &c.putLayer,
	} {
		*of = t.call(t.instruments.engine, "berth.engine", name)
	}
}

// running is a call that is under way. Its zero value tells nothing.
type running struct {
	*call
	begun time.Time  // zero = it is not measured
	span  trace.Span // nil = none
}

// begin begins a call, which gets the context that begin returns. A call has a span only within another one: what berth does
// over and over in the background would drown the rest.
func (c *call) begin(ctx context.Context) (context.Context, running) {
	r := running{call: c}
	if c.t.enabled(ctx, c.in) {
		r.begun = time.Now()
	}
	if c.span != "" && c.t.traces() && trace.SpanContextFromContext(ctx).IsValid() {
		ctx, r.span = c.t.startSpan(ctx, c.span, trace.WithSpanKind(trace.SpanKindClient))
	}
	return ctx, r
}

// end ends a call with its error.
func (r running) end(err error) {
	if !r.begun.IsZero() || r.span != nil {
		r.endAs(r.word(err))
	}
}

// endAs ends a call with its error.type; "" = it succeeded.
func (r running) endAs(word string) {
	if !r.begun.IsZero() {
		r.took(time.Since(r.begun), word)
	}
	r.t.endSpan(r.span, word)
}

// took records how long a call has taken. Calls are too many to be shown beside their traces, as exemplars.
func (c *call) took(d time.Duration, word string) {
	if word == "" {
		c.t.record(context.Background(), c.in, d, c.ok...)
		return
	}
	c.t.record(context.Background(), c.in, d, withError(word, keyOperation.String(c.name)))
}

// startSpan starts a span. It returns nil if the provider fails.
func (t *Telemetry) startSpan(ctx context.Context, name string, options ...trace.SpanStartOption) (in context.Context, span trace.Span) {
	in = ctx
	defer t.guard()
	started, made := t.tracer.Start(ctx, name, options...)
	if started != nil {
		in, span = started, made
	}
	return in, span
}

// endSpan ends a span, which may be nil. word is its error.type; "" = it succeeded.
func (t *Telemetry) endSpan(span trace.Span, word string, options ...trace.SpanEndOption) {
	if span == nil {
		return
	}
	defer t.guard()
	if word != "" {
		span.SetAttributes(keyError.String(word))
		span.SetStatus(codes.Error, "")
	}
	span.End(options...)
}
