package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/trace"
)

// Tick tells of a tick of the planner, which began a moment ago. What it does then has the context that Tick returns; done is
// called when that has begun. A tick has a span if it acts. The span is linked to the traces of sessions that wait, of which
// waiting has the texts.
func (t *Telemetry) Tick(ctx context.Context, began time.Time, actions int, waiting []string) (acting context.Context, done func()) {
	if t == nil {
		return ctx, func() {}
	}
	if t.enabled(ctx, t.instruments.ticks) {
		t.record(ctx, t.instruments.ticks, time.Since(began))
	}
	if actions == 0 || !t.traces() {
		return ctx, func() {}
	}
	var links []trace.Link
	for _, text := range waiting {
		if at := trace.SpanContextFromContext(t.Within(context.Background(), text)); at.IsValid() {
			links = append(links, trace.Link{SpanContext: at})
		}
	}
	ctx, span := t.startSpan(ctx, "berth.plan", trace.WithTimestamp(began), trace.WithLinks(links...), trace.WithNewRoot(),
		trace.WithAttributes(attribute.Int("berth.plan.actions", actions)))
	return ctx, func() { t.endSpan(span, "") }
}
