package agent

import (
	"fmt"
	"log/slog"
)

// This file keeps credentials and environments out of what fmt and log/slog print. fmt shows all of a value in an unexported
// field.

// String returns the URL, without the credential and the environment.
func (f Fetch) String() string { return fmt.Sprintf("agent.Fetch of %q", f.URL) }

// GoString is String.
func (f Fetch) GoString() string { return f.String() }

// LogValue implements slog.LogValuer: it is String.
func (f Fetch) LogValue() slog.Value { return slog.StringValue(f.String()) }

// String returns the ID and the URL, without the environment.
func (s Session) String() string { return fmt.Sprintf("agent.Session %s on %q", s.ID, s.URL) }

// GoString is String.
func (s Session) GoString() string { return s.String() }

// LogValue implements slog.LogValuer: it is String.
func (s Session) LogValue() slog.Value { return slog.StringValue(s.String()) }

// String returns the session and the arguments, without the environment.
func (c Command) String() string {
	return fmt.Sprintf("agent.Command %q of session %s", c.Args, c.Session)
}

// GoString is String.
func (c Command) GoString() string { return c.String() }

// LogValue implements slog.LogValuer: it is String.
func (c Command) LogValue() slog.Value { return slog.StringValue(c.String()) }
