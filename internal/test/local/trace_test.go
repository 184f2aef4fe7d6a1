package local_test

import (
	"strings"
	"testing"

	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
)

// TestLocalTraceGoesOnIntoTheDockerClient: the requests of a start to the engine are in the trace of CreateSession, each below the call
// that made it.
func TestLocalTraceGoesOnIntoTheDockerClient(t *testing.T) {
	t.Parallel()
	spans := tracetest.NewSpanRecorder()
	tracers := sdktrace.NewTracerProvider(sdktrace.WithSpanProcessor(spans))
	l := local.New(t, berth.Config{TracerProvider: tracers})
	ctx, root := tracers.Tracer("a test").Start(t.Context(), "root")
	_, err := l.CreateSession(ctx, berth.SessionRequest{TaskID: "t", UserID: "user", Repository: l.Git.Create("org/traced", gittest.Small()).URL()})
	if err != nil {
		t.Fatal(err)
	}
	root.End()
	names := make(map[trace.SpanID]string)
	for _, s := range spans.Ended() {
		names[s.SpanContext().SpanID()] = s.Name()
	}
	requests := make(map[string]int) // by the call above
	for _, s := range spans.Ended() {
		if s.SpanContext().TraceID() == root.SpanContext().TraceID() && strings.Contains(s.InstrumentationScope().Name, "otelhttp") {
			requests[names[s.Parent().SpanID()]]++
		}
	}
	if requests["berth.create"] == 0 {
		t.Errorf("the requests to the engine by the call above: %v", requests)
	}
}
