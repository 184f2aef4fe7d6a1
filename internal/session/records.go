package session

import (
	"context"
	"fmt"

	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/internal/telemetry"
	"github.com/berth-go/berth/store"
)

// records reads the records of sessions, and makes errors of them.
type records struct {
	store      store.Store
	startError func(errs.StartError) error
}

// read returns the record of a session that should be there. ErrSessionNotFound: it is not.
func (r records) read(ctx context.Context, id string) (*store.Session, error) {
	s, err := store.Read[*store.Session](ctx, r.store, store.SessionKey(id))
	if err == nil && s == nil {
		err = errs.ErrSessionNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	return s, nil
}

// endError returns why a session ended, as callers get it.
func (r records) endError(s *store.Session) error { return errs.Ended(s, r.startError) }

// inactive is the error of calls that need an active session.
func (r records) inactive(s *store.Session) error {
	err := r.endError(s)
	if s.State == store.SessionCreating {
		err = errs.ErrSessionStarting
	}
	return fmt.Errorf("session %s: %w", s.ID, err)
}

// about returns the attributes of a line of the log that belongs to a session.
func about(s *store.Session) []any {
	args := []any{"session", s.ID, "instance", s.Instance}
	if trace := s.TraceID(); trace != "" {
		args = append(args, telemetry.LogTrace, trace)
	}
	return args
}
