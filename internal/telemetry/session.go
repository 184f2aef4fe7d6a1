package telemetry

import (
	"context"
	"fmt"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/trace"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// StartExisting is the kind of a start that found the session of its task.
const StartExisting store.StartKind = "existing"

// A Start is a call of CreateSession that is under way. Its zero value tells nothing.
type Start struct {
	t     *Telemetry
	ctx   context.Context
	repo  naming.Repository
	begun time.Time
	span  trace.Span
}

// Start begins a call of CreateSession, which gets the context that Start returns.
func (t *Telemetry) Start(ctx context.Context, taskID string, repo naming.Repository) (context.Context, Start) {
	s := Start{t: t, repo: repo}
	if t == nil {
		return ctx, s
	}
	if t.enabled(ctx, t.instruments.starts) {
		s.begun = time.Now()
	}
	if t.traces() {
		ctx, s.span = t.startSpan(ctx, "berth.create_session", trace.WithAttributes(
			attribute.String("berth.task.id", taskID), keyRepository.String(repo.String())))
	}
	s.ctx = ctx
	return ctx, s
}

// End ends the call. session is nil if err is not. existing: the task had the session already.
func (s Start) End(session *store.Session, existing bool, err error) {
	if s.begun.IsZero() && s.span == nil {
		return
	}
	word := errorType(err)
	var kind store.StartKind
	switch {
	case existing:
		kind = StartExisting
	case session != nil:
		kind = session.Start
	}
	if !s.begun.IsZero() {
		var attributes []attribute.KeyValue
		if kind != "" {
			attributes = append(attributes, keyKind.String(string(kind)))
		}
		attributes = s.t.named(attributes, s.repo, true)
		s.t.record(s.ctx, s.t.instruments.starts, time.Since(s.begun), withError(word, attributes...))
	}
	if s.span != nil {
		if session != nil {
			s.t.guarded(func() {
				s.span.SetAttributes(attribute.String("berth.session.id", session.ID), keyKind.String(string(kind)))
			})
		}
		s.t.endSpan(s.span, word)
	}
}

// named adds the name of a repository, if metrics have it.
func (t *Telemetry) named(attributes []attribute.KeyValue, repo naming.Repository, start bool) []attribute.KeyValue {
	if name := t.repositories.name(repo, start); name != "" {
		attributes = append(attributes, keyRepository.String(name))
	}
	return attributes
}

// A Termination is a call of TerminateSession that is under way. Its zero value tells nothing.
type Termination struct {
	t    *Telemetry
	span trace.Span
}

// Termination begins a call of TerminateSession, which gets the context that it returns.
func (t *Telemetry) Termination(ctx context.Context, id string) (context.Context, Termination) {
	if !t.traces() {
		return ctx, Termination{}
	}
	ctx, span := t.startSpan(ctx, "berth.terminate_session", trace.WithAttributes(attribute.String("berth.session.id", id)))
	return ctx, Termination{t, span}
}

// End ends the call.
func (e Termination) End(err error) {
	if e.span != nil {
		e.t.endSpan(e.span, errorType(err))
	}
}

// Ended tells that a session has ended.
func (t *Telemetry) Ended(s *store.Session) {
	if t != nil && t.counts(t.instruments.ended) {
		attributes := []attribute.KeyValue{keyEnd.String(string(s.End.Reason))}
		t.count(t.instruments.ended, t.named(attributes, s.SharingKey.Repository, false)...)
	}
}

// Endangered tells that the cloud takes the instance of a session back.
func (t *Telemetry) Endangered() {
	if t != nil && t.counts(t.instruments.endangered) {
		t.count(t.instruments.endangered)
	}
}

// LeaseSession is the sort of the leases of sessions. Package replica has the others.
const LeaseSession = "session"

// Renewed tells of a try to renew a lease in the store. lease says which sort of lease.
func (t *Telemetry) Renewed(lease string, err error) {
	if t == nil || !t.counts(t.instruments.renewals) {
		return
	}
	attributes := []attribute.KeyValue{keyLease.String(lease)}
	if word := errorType(err); word != "" {
		attributes = append(attributes, keyError.String(word))
	}
	t.count(t.instruments.renewals, attributes...)
}

// traceparent is the header of W3C's Trace Context that names a span. A record keeps its text.
const traceparent = "traceparent"

// Trace returns the text by which a record names the span of ctx; "" = there is none.
func (t *Telemetry) Trace(ctx context.Context) string {
	if !t.traces() {
		return ""
	}
	at := trace.SpanContextFromContext(ctx)
	if !at.IsValid() {
		return ""
	}
	return fmt.Sprintf("00-%s-%s-%s", at.TraceID(), at.SpanID(), at.TraceFlags())
}

// Within returns a context in which spans are children of the span that a record names, even if another process began it.
func (t *Telemetry) Within(ctx context.Context, text string) context.Context {
	if text == "" || !t.traces() {
		return ctx
	}
	return propagation.TraceContext{}.Extract(ctx, propagation.MapCarrier{traceparent: text})
}

// Carry returns a context like to whose spans are children of the span of from.
func (t *Telemetry) Carry(to, from context.Context) context.Context {
	if !t.traces() {
		return to
	}
	span := trace.SpanFromContext(from)
	if !span.SpanContext().IsValid() {
		return to
	}
	return trace.ContextWithSpan(to, span)
}

// LogTrace is the key of a trace's ID in the log.
const LogTrace = "trace_id"

// LogArgs adds the ID of the trace of ctx to the attributes of a line of the log, if there is one.
func (t *Telemetry) LogArgs(ctx context.Context, args ...any) []any {
	if at := trace.SpanContextFromContext(ctx); t != nil && at.HasTraceID() {
		args = append(args, LogTrace, at.TraceID().String())
	}
	return args
}
