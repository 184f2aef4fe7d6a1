package loop

import (
	"context"
	"log/slog"
	"sync/atomic"
)

// Failures logs and counts what fails in the background of one part. All methods are safe for concurrent use.
type Failures struct {
	ctx   context.Context
	log   *slog.Logger
	count atomic.Int64
}

// NewFailures returns Failures that log to log until ctx ends: what fails because its part is closed is no failure.
func NewFailures(ctx context.Context, log *slog.Logger) *Failures {
	return &Failures{ctx: ctx, log: log}
}

// Report logs that something failed, as a warning, with the error and more attributes, and counts it.
func (f *Failures) Report(what string, err error, args ...any) {
	if f.ctx.Err() != nil {
		return
	}
	f.count.Add(1)
	f.log.Warn(what, append(args, slog.Any("err", err))...)
}

// Count returns how many failures were reported.
func (f *Failures) Count() int64 { return f.count.Load() }
