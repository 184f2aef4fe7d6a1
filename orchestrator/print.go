package orchestrator

import "log/slog"

// This file keeps credentials out of what fmt and log/slog print. fmt shows all of a value in an unexported field.

// String says whether there is a credential. It does not show it.
func (c Credential) String() string {
	if c == (Credential{}) {
		return "no credential"
	}
	return "a credential"
}

// GoString does not show the secrets.
func (c Credential) GoString() string { return "orchestrator.Credential{…}" }

// LogValue implements slog.LogValuer: it is String.
func (c Credential) LogValue() slog.Value { return slog.StringValue(c.String()) }

// LogValue implements slog.LogValuer: it is String.
func (a RegistryAuth) LogValue() slog.Value { return slog.StringValue(a.String()) }
