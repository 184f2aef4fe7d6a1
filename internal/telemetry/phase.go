package telemetry

import (
	"context"
	"time"

	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"
)

// PhaseName names a phase of the start of a session.
type PhaseName string

// The phases, in their order. A start has those of them that it needs.
const (
	PhaseQueue    PhaseName = "queue"    // it waits for a slot
	PhasePlace    PhaseName = "place"    // it gets a slot and a container, in one transaction
	PhasePull     PhaseName = "pull"     // the engine of its container pulls the image
	PhaseCreate   PhaseName = "create"   // its container is made, without the pull
	PhaseFetch    PhaseName = "fetch"    // the mirror is cloned or brought up to date
	PhaseCheckout PhaseName = "checkout" // its checkout is made
	PhaseRestore  PhaseName = "restore"  // the checkout gets work that was kept
)

// A phase is how a phase is measured, and the name of its span.
type phase struct {
	span string
	ok   []metric.RecordOption // the attributes of one that succeeded, made once
	as   *call                 // the call that is the phase; nil = it is none, or not only that
}

// phases are all phases, by name.
type phases map[PhaseName]*phase

func (t *Telemetry) newPhases() phases {
	all := make(phases)
	for name, as := range map[PhaseName]*call{
		PhaseQueue: nil, PhasePlace: nil, PhasePull: nil, PhaseCreate: t.calls.ensure, PhaseFetch: t.calls.fetch, PhaseCheckout: t.calls.open,
		PhaseRestore: nil,
	} {
		ok := []metric.RecordOption{metric.WithAttributes(keyPhase.String(string(name)))}
		all[name] = &phase{span: "berth." + string(name), ok: ok, as: as}
	}
	return all
}

// took records how long a phase has taken.
func (t *Telemetry) took(name PhaseName, d time.Duration, word string) {
	if word == "" {
		t.record(context.Background(), t.instruments.phases, d, t.phases[name].ok...)
		return
	}
	t.record(context.Background(), t.instruments.phases, d, withError(word, keyPhase.String(string(name))))
}

// A Phase is a phase that is under way. Its zero value tells nothing.
type Phase struct {
	t     *Telemetry
	name  PhaseName
	begun time.Time
	span  trace.Span
}

// Phase begins a phase, which gets the context that Phase returns. The phase is a span if ctx has one.
func (t *Telemetry) Phase(ctx context.Context, name PhaseName) (context.Context, Phase) {
	p := Phase{t: t, name: name}
	if t == nil {
		return ctx, p
	}
	if t.enabled(ctx, t.instruments.phases) {
		p.begun = time.Now()
	}
	if t.traces() && trace.SpanContextFromContext(ctx).IsValid() {
		ctx, p.span = t.startSpan(ctx, t.phases[name].span)
	}
	return ctx, p
}

// End ends a phase with its error.
func (p Phase) End(err error) { p.end(0, err) }

// end ends a phase that has lost some time to another one.
func (p Phase) end(less time.Duration, err error) {
	if p.begun.IsZero() && p.span == nil {
		return
	}
	word := errorType(err)
	if !p.begun.IsZero() {
		took := time.Since(p.begun)
		p.t.took(p.name, max(took-less, 0), word)
		if as := p.t.phases[p.name].as; as != nil {
			as.took(took, word)
		}
	}
	p.t.endSpan(p.span, word)
}

// Passed tells of a phase that is over, and was a part of ctx.
func (t *Telemetry) Passed(ctx context.Context, name PhaseName, began time.Time, took time.Duration) {
	if t == nil {
		return
	}
	if t.enabled(ctx, t.instruments.phases) {
		t.took(name, took, "")
	}
	if t.traces() && trace.SpanContextFromContext(ctx).IsValid() {
		_, span := t.startSpan(ctx, t.phases[name].span, trace.WithTimestamp(began))
		t.endSpan(span, "", trace.WithTimestamp(began.Add(took)))
	}
}
