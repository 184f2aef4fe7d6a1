// Package plain makes texts that hold words of a user, a remote, an engine or a cloud fit for a log, an error and an event: one
// line that shows as itself. So these words forge no second line, no colour and no direction of writing.
package plain

import (
	"context"
	"fmt"
	"log/slog"

	"github.com/berth-go/berth/agent/gitremote"
)

// MaxText is the largest length of a text in bytes.
const MaxText = 16 << 10

// Text returns a text as one line, see gitremote.Line.
func Text(s string) string { return gitremote.Line(s, MaxText) }

// Error returns an error whose text is one line, and which matches all that err matches. It is err itself if its text is one
// line already.
func Error(err error) error {
	if err == nil {
		return nil
	}
	text := err.Error()
	if line := Text(text); line != text {
		return &lineError{line, err}
	}
	return err
}

type lineError struct {
	text string
	err  error
}

func (e *lineError) Error() string { return e.text }
func (e *lineError) Unwrap() error { return e.err }

// Logger returns a logger that passes on what log gets. Messages, and texts and errors among the attributes, are one line.
func Logger(log *slog.Logger) *slog.Logger {
	if _, done := log.Handler().(handler); done {
		return log
	}
	return slog.New(handler{log.Handler()})
}

type handler struct{ slog.Handler }

// Handle implements slog.Handler.
func (h handler) Handle(ctx context.Context, r slog.Record) error {
	clean := slog.NewRecord(r.Time, r.Level, Text(r.Message), r.PC)
	r.Attrs(func(a slog.Attr) bool {
		clean.AddAttrs(attr(a))
		return true
	})
	return h.Handler.Handle(ctx, clean)
}

// WithAttrs implements slog.Handler.
func (h handler) WithAttrs(attrs []slog.Attr) slog.Handler {
	clean := make([]slog.Attr, len(attrs))
	for i, a := range attrs {
		clean[i] = attr(a)
	}
	return handler{h.Handler.WithAttrs(clean)}
}

// WithGroup implements slog.Handler.
func (h handler) WithGroup(name string) slog.Handler { return handler{h.Handler.WithGroup(name)} }

// attr returns an attribute whose text is one line. A value whose text is one line already keeps its type.
func attr(a slog.Attr) slog.Attr {
	switch value := a.Value.Resolve(); value.Kind() {
	case slog.KindString:
		a.Value = slog.StringValue(Text(value.String()))
	case slog.KindGroup:
		var group []slog.Attr
		for _, inner := range value.Group() {
			group = append(group, attr(inner))
		}
		a.Value = slog.GroupValue(group...)
	case slog.KindAny:
		a.Value = slog.AnyValue(shown(value.Any()))
	}
	a.Key = Text(a.Key)
	return a
}

// shown returns a value that prints as one line.
func shown(value any) any {
	switch v := value.(type) {
	case error:
		return Error(v)
	case fmt.Stringer:
		if text := v.String(); Text(text) != text {
			return Text(text)
		}
	case []string:
		clean := make([]string, len(v))
		for i, s := range v {
			clean[i] = Text(s)
		}
		return clean
	}
	return value
}
