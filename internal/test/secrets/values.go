package secrets

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/berth-go/berth/internal/test/world"
	"github.com/berth-go/berth/store"
)

// Printed searches everything that fmt prints of a value.
func (s *Search) Printed(place string, value any) {
	for _, format := range []string{"%v", "%+v", "%#v", "%s"} {
		s.Look(place, fmt.Sprintf("%T by %s", value, format), fmt.Appendf(nil, format, value))
	}
}

// Value searches everything that fmt and slog print of a value.
func (s *Search) Value(place string, value any) {
	s.Printed(place, value)
	where := fmt.Sprintf("%T", value)
	line := writer(func(line []byte) { s.Look(place, where+" by slog", line) })
	slog.New(slog.NewTextHandler(line, nil)).Info("", "value", value)
	slog.New(slog.NewJSONHandler(line, nil)).Info("", "value", value)
}

type writer func(line []byte)

func (w writer) Write(line []byte) (int, error) {
	w(line)
	return len(line), nil
}

// Error searches an error, and all errors that it wraps.
func (s *Search) Error(err error) {
	if err == nil {
		return
	}
	s.Value("an error", err)
	if text, failed := json.Marshal(err); failed == nil {
		s.Look("an error", fmt.Sprintf("%T as JSON", err), text)
	}
	switch inner := err.(type) {
	case interface{ Unwrap() []error }:
		for _, err := range inner.Unwrap() {
			s.Error(err)
		}
	default:
		s.Error(errors.Unwrap(err))
	}
}

// Store returns a store whose records are searched when they are put.
func (s *Search) Store(st store.Store) store.Store { return watched{st, s} }

type watched struct {
	store.Store
	search *Search
}

// Update implements store.Store.
func (w watched) Update(ctx context.Context, keys []store.Key, fn func(store.Tx) error) error {
	return w.Store.Update(ctx, keys, func(tx store.Tx) error {
		return fn(world.WatchPuts(tx, func(r store.Record) {
			where := r.Key().String()
			text, err := json.Marshal(r)
			if err != nil {
				panic(err) // records survive encoding/json
			}
			w.search.Look("a record", where, text)
			w.search.Look("a record", where, fmt.Appendf(nil, "%+v", r))
			switch r := r.(type) { // base64 in JSON
			case *store.Pool:
				w.search.Look("a record", where, r.ClientKey)
			case *store.Instance:
				w.search.Look("a record", where, r.Frozen)
			}
		}))
	})
}

// Files searches the files that a pattern matches. There must be one.
func (s *Search) Files(t testing.TB, place, pattern string) {
	t.Helper()
	names, err := filepath.Glob(pattern)
	if err != nil || len(names) == 0 {
		t.Errorf("no file is like %s: %v", pattern, err)
	}
	for _, name := range names {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Error(err)
		}
		s.Look(place, filepath.Base(name), text)
	}
}
