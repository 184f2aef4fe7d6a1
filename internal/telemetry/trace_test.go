package telemetry_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/orchestrator"
)

// recorded are the spans of one replica.
type recorded struct{ *tracetest.SpanRecorder }

func recorder() (recorded, *sdk.TracerProvider) {
	r := recorded{tracetest.NewSpanRecorder()}
	return r, sdk.NewTracerProvider(sdk.WithSpanProcessor(r.SpanRecorder))
}

// named returns the spans of a name that have ended.
func (r recorded) named(name string) (found []sdk.ReadOnlySpan) {
	for _, s := range r.Ended() {
		if s.Name() == name {
			found = append(found, s)
		}
	}
	return found
}

// only returns the one span of a name.
func (r recorded) only(t *testing.T, name string) sdk.ReadOnlySpan {
	t.Helper()
	found := r.named(name)
	if len(found) != 1 {
		t.Fatalf("there are %d spans %s", len(found), name)
	}
	return found[0]
}

// of returns the span of a name that a session has.
func (r recorded) of(t *testing.T, name, session string) sdk.ReadOnlySpan {
	t.Helper()
	for _, s := range r.named(name) {
		for _, kv := range s.Attributes() {
			if kv == attribute.String("berth.session.id", session) {
				return s
			}
		}
	}
	t.Fatalf("there is no span %s of %s", name, session)
	return nil
}

// child fails the test unless one span of a name is a child of another span, or a child of such a child.
func (r recorded) child(t *testing.T, name string, of sdk.ReadOnlySpan) sdk.ReadOnlySpan {
	t.Helper()
	for _, s := range r.named(name) {
		for up := s; up != nil; up = r.parent(up) {
			if up.SpanContext().TraceID() == of.SpanContext().TraceID() && up.Parent().SpanID() == of.SpanContext().SpanID() {
				return s
			}
		}
	}
	t.Errorf("%s is not below %s", name, of.Name())
	return nil
}

func (r recorded) parent(of sdk.ReadOnlySpan) sdk.ReadOnlySpan {
	for _, s := range r.Ended() {
		if s.SpanContext().SpanID() == of.Parent().SpanID() {
			return s
		}
	}
	return nil
}

// TestASessionThatAnotherReplicaPlacesIsOneTree: one replica queues a session, another one frees the slot and places it.
func TestASessionThatAnotherReplicaPlacesIsOneTree(t *testing.T) {
	spans, tracers := recorder()
	elsewhere, others := recorder()
	setup := world.Setup{
		Config: berth.Config{MaxInstances: 1, MaxTasksPerInstance: 1, TracerProvider: tracers},
		Engine: fake.EngineOptions{Latency: fake.Latency{Pull: 5 * time.Second}},
	}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		w.Config.TracerProvider = others
		other := w.NewProvider()
		first := world.Create(t, other, world.Request("t1", world.RepoA))
		caller, root := tracers.Tracer("host").Start(t.Context(), "request")
		waiting := world.Creating(caller, w.Provider, world.Request("t2", world.RepoB))
		w.Pending(waiting, "the only slot is taken")
		if err := other.TerminateSession(t.Context(), first.ID()); err != nil {
			t.Fatal(err)
		}
		r := <-waiting
		if r.Err != nil {
			t.Fatal(r.Err)
		}
		root.End()
		synctest.Wait()

		create := spans.of(t, "berth.create_session", r.Session.ID())
		if create.Parent().SpanID() != root.SpanContext().SpanID() {
			t.Error("CreateSession is not a child of the host's span")
		}
		for _, phase := range []string{"berth.place", "berth.queue", "berth.create", "berth.fetch", "berth.checkout", "berth.engine attach"} {
			spans.child(t, phase, create)
		}
		placed := elsewhere.child(t, "berth.place", create)
		if placed == nil || !placed.Parent().IsRemote() {
			t.Error("the other replica's part is not a remote child")
		}
		first1 := elsewhere.of(t, "berth.create_session", first.ID())
		pull := elsewhere.child(t, "berth.pull", first1)
		if took := pull.EndTime().Sub(pull.StartTime()); took != 5*time.Second {
			t.Errorf("the pull took %v", took)
		}
		if first1.SpanContext().TraceID() == create.SpanContext().TraceID() {
			t.Error("two sessions have one trace")
		}
		ended := elsewhere.of(t, "berth.terminate_session", first.ID())
		elsewhere.child(t, "berth.engine close_session", ended)
	})
}

// TestTicksAreLinkedToWhoWaits: the planner's launch is linked to the trace of the session that waits for it.
func TestTicksAreLinkedToWhoWaits(t *testing.T) {
	spans, tracers := recorder()
	world.Run(t, world.Setup{Config: berth.Config{TracerProvider: tracers}}, func(t *testing.T, w *world.World) {
		s := w.Create("t1", world.RepoA)
		create := spans.of(t, "berth.create_session", s.ID())
		tick := spans.parent(spans.only(t, "berth.cloud launch"))
		if tick == nil || tick.Name() != "berth.plan" {
			t.Fatalf("the launch is in %v", tick)
		}
		if links := tick.Links(); len(links) != 1 || links[0].SpanContext.SpanID() != create.SpanContext().SpanID() {
			t.Errorf("the tick that launches has the links %v", links)
		}
	})
}

// TestCommandsHaveSpans: a command is a child of its caller's span, and knows how it ended.
func TestCommandsHaveSpans(t *testing.T) {
	spans, tracers := recorder()
	setup := world.Setup{Config: berth.Config{TracerProvider: tracers}, Engine: fake.EngineOptions{Run: cat}}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		s := w.Create("t1", world.RepoA)
		caller, root := tracers.Tracer("host").Start(t.Context(), "request")
		if err := s.Command(caller, "false").Run(); err == nil {
			t.Fatal("false has succeeded")
		}
		root.End()
		command := spans.only(t, "berth.command")
		if command.Parent().SpanID() != root.SpanContext().SpanID() {
			t.Error("the command is not a child of its caller's span")
		}
		if got := attribute.NewSet(command.Attributes()...); got.Encoded(encoder{}) != "berth.session.id="+s.ID()+",error.type=exit" {
			t.Errorf("attributes %s", got.Encoded(encoder{}))
		}
	})
}

// TestLinesOfASessionHaveItsTrace: a failure in the background that belongs to a session names its trace.
func TestLinesOfASessionHaveItsTrace(t *testing.T) {
	spans, tracers := recorder()
	world.Run(t, world.Setup{Config: berth.Config{TracerProvider: tracers}}, func(t *testing.T, w *world.World) {
		s := w.Create("t1", world.RepoA)
		w.Engine.Fail(fake.CloseSession, 1, orchestrator.ErrUnreachable)
		w.Terminate(s)
		id := spans.of(t, "berth.create_session", s.ID()).SpanContext().TraceID().String()
		for _, line := range strings.Split(w.LogText(), "\n") {
			if strings.Contains(line, "session="+s.ID()) {
				if !strings.Contains(line, "trace_id="+id) {
					t.Errorf("no trace %s in %s", id, line)
				}
				return
			}
		}
		t.Errorf("no line of the session in %s", w.LogText())
	})
}

// TestLinesOfACommandHaveATrace: that of its caller, or else that of the session.
func TestLinesOfACommandHaveATrace(t *testing.T) {
	spans, tracers := recorder()
	setup := world.Setup{Config: berth.Config{TracerProvider: tracers}, Engine: fake.EngineOptions{Run: cat}}
	world.Run(t, setup, func(t *testing.T, w *world.World) {
		s := w.Create("t1", world.RepoA)
		caller, root := tracers.Tracer("host").Start(t.Context(), "request")
		defer root.End()
		want := []string{root.SpanContext().TraceID().String(), spans.of(t, "berth.create_session", s.ID()).SpanContext().TraceID().String()}
		for _, ctx := range []context.Context{caller, t.Context()} {
			ctx, cancel := context.WithCancel(ctx)
			cmd := s.Command(ctx, "cat")
			if _, err := cmd.StdinPipe(); err != nil {
				t.Fatal(err)
			}
			if err := cmd.Start(); err != nil {
				t.Fatal(err)
			}
			w.Engine.Fail(fake.Kill, 1, orchestrator.ErrUnreachable)
			cancel()
			_ = cmd.Wait() // it was given up
			world.After(time.Minute)
		}
		var got []string
		for line := range strings.Lines(w.LogText()) {
			if strings.Contains(line, "cannot kill a command") && strings.Contains(line, "session="+s.ID()) {
				_, trace, _ := strings.Cut(line, "trace_id=")
				trace, _, _ = strings.Cut(trace, " ")
				got = append(got, trace)
			}
		}
		if !slices.Equal(got, want) {
			t.Errorf("lines with the traces %q, want %q, in %s", got, want, w.LogText())
		}
	})
}

// TestLinesOfAStartHaveItsTrace: a container starts for the call that needs it first.
func TestLinesOfAStartHaveItsTrace(t *testing.T) {
	_, tracers := recorder()
	world.Run(t, world.Setup{Config: berth.Config{TracerProvider: tracers}}, func(t *testing.T, w *world.World) {
		caller, root := tracers.Tracer("host").Start(t.Context(), "request")
		defer root.End()
		w.Engine.Fail(fake.Ensure, 4, errors.New("no space left on device"))
		if _, err := w.CreateSession(caller, world.Request("t1", world.RepoA)); err == nil {
			t.Fatal("the container has started")
		}
		for _, what := range []string{"cannot start a container", "a container did not start"} {
			found := false
			for line := range strings.Lines(w.LogText()) {
				found = found || strings.Contains(line, what) && strings.Contains(line, "trace_id="+root.SpanContext().TraceID().String())
			}
			if !found {
				t.Errorf("no line %q has the trace in %s", what, w.LogText())
			}
		}
	})
}

// TestNoTraceWithoutATracer: a record says nothing if nobody traces, even if the caller does.
func TestNoTraceWithoutATracer(t *testing.T) {
	world.Run(t, world.Setup{}, func(t *testing.T, w *world.World) {
		ctx := trace.ContextWithSpanContext(context.Background(), trace.NewSpanContext(trace.SpanContextConfig{
			TraceID: trace.TraceID{1}, SpanID: trace.SpanID{1}, TraceFlags: trace.FlagsSampled,
		}))
		if _, err := w.CreateSession(ctx, world.Request("t1", world.RepoA)); err != nil {
			t.Fatal(err)
		}
		if open := w.OpenSessions(); len(open) != 1 || open[0].Trace != "" {
			t.Errorf("records %+v", open)
		}
	})
}
