package pool

import (
	"fmt"
	"log/slog"
)

// String returns the launch ID and the type, without UserData, which is a secret. fmt shows all of a Spec in an unexported
// field.
func (s Spec) String() string { return fmt.Sprintf("pool.Spec of launch %s, %s", s.LaunchID, s.Type) }

// GoString is String.
func (s Spec) GoString() string { return s.String() }

// LogValue implements slog.LogValuer: it is String.
func (s Spec) LogValue() slog.Value { return slog.StringValue(s.String()) }
