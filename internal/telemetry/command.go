package telemetry

import (
	"context"
	"errors"
	"io"
	"os/exec"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/metric"
	"go.opentelemetry.io/otel/trace"

	"github.com/berth-go/berth/agent"
	"github.com/berth-go/berth/orchestrator"
)

// command is a command that is under way. Its zero value tells nothing.
type command struct {
	t     *Telemetry
	begun time.Time
	span  trace.Span
}

// command begins a command, and counts its streams. A program that berth runs for itself in a session is none of its commands.
func (t *Telemetry) command(ctx context.Context, c *agent.Command) (context.Context, command) {
	measured, traced := t.enabled(ctx, t.instruments.commands), t.traces()
	if own := c.Hidden || c.Files || c.Work != ""; own || !measured && !traced {
		return ctx, command{}
	}
	run := command{t: t}
	if traced {
		ctx, run.span = t.startSpan(ctx, "berth.command", trace.WithAttributes(attribute.String("berth.session.id", c.Session)))
	}
	if measured {
		run.begun = time.Now()
		t.countStreams(ctx, c)
	}
	return ctx, run
}

// end ends a command. word is its error.type; "" = it has succeeded.
func (c command) end(ctx context.Context, word string) {
	if c.t == nil {
		return
	}
	if !c.begun.IsZero() {
		c.t.record(ctx, c.t.instruments.commands, time.Since(c.begun), withError(word))
	}
	c.t.endSpan(c.span, word)
}

// countStreams puts counters before the streams of a command. Two outputs that are one stream stay one.
func (t *Telemetry) countStreams(ctx context.Context, c *agent.Command) {
	counter := func(stream string) counter {
		return counter{t, t.instruments.bytes, context.WithoutCancel(ctx), []metric.AddOption{metric.WithAttributes(keyStream.String(stream))}}
	}
	if c.Stdin != nil {
		c.Stdin = &countedReader{c.Stdin, counter("stdin")}
	}
	shared := agent.SameWriter(c.Stdout, c.Stderr)
	if c.Stdout != nil {
		c.Stdout = &countedWriter{c.Stdout, counter("stdout")}
	}
	switch {
	case shared:
		c.Stderr = c.Stdout
	case c.Stderr != nil:
		c.Stderr = &countedWriter{c.Stderr, counter("stderr")}
	}
}

// counter counts the bytes of one stream.
type counter struct {
	t       *Telemetry
	in      metric.Int64Counter
	ctx     context.Context
	options []metric.AddOption
}

func (c *counter) add(n int) {
	if n > 0 {
		defer c.t.guard()
		c.in.Add(c.ctx, int64(n), c.options...)
	}
}

type countedReader struct {
	r io.Reader
	counter
}

// Read implements io.Reader.
func (r *countedReader) Read(b []byte) (int, error) {
	n, err := r.r.Read(b)
	r.add(n)
	return n, err
}

type countedWriter struct {
	w io.Writer
	counter
}

// Write implements io.Writer.
func (w *countedWriter) Write(b []byte) (int, error) {
	n, err := w.w.Write(b)
	w.add(n)
	return n, err
}

// measuredProcess tells of the end of a command.
type measuredProcess struct {
	orchestrator.Process
	command command
	ctx     context.Context
}

// Wait implements orchestrator.Process.
func (p *measuredProcess) Wait() (agent.Exit, error) {
	exit, err := p.Process.Wait()
	p.command.end(p.ctx, exitType(exit, err))
	return exit, err
}

// exitType returns the error.type of the end of a command.
func exitType(exit agent.Exit, err error) string {
	_, cut := errors.AsType[*agent.CutError](err)
	switch {
	case err != nil && !cut && !errors.Is(err, exec.ErrWaitDelay):
		if word := errorType(err); word != errorOther {
			return word // the exit is not known
		}
		return "stream" // the caller's own reader or writer has failed
	case exit.OutOfMemory && (exit.Code != 0 || exit.Signal != 0):
		return "out_of_memory"
	case exit.Signal != 0:
		return "signal"
	case exit.Code != 0:
		return "exit"
	case err != nil:
		return "cut"
	}
	return ""
}
