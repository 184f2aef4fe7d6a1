package telemetry

import (
	"cmp"
	"context"
	"io"
	"iter"
	"sync"

	"go.opentelemetry.io/otel/metric"

	"github.com/berth-go/berth/orchestrator"
)

// Snapshots returns a SnapshotStore that measures the calls of another one, which may be nil, and counts what it stores and reads.
func (t *Telemetry) Snapshots(s orchestrator.SnapshotStore) orchestrator.SnapshotStore {
	if t == nil || s == nil {
		return s
	}
	return &measuredSnapshots{s, t}
}

type measuredSnapshots struct {
	store orchestrator.SnapshotStore
	t     *Telemetry
}

// errorContent is the error.type of a Put whose content failed: that says nothing of the store.
const errorContent = "content"

// snapshotErrorType returns the error.type of a failure of a store of snapshots. An error that the interface does not name says that
// the store cannot be used.
func snapshotErrorType(err error) string {
	word := errorType(err)
	if word == errorOther {
		return "unavailable"
	}
	return word
}

// Put implements orchestrator.SnapshotStore.
func (s *measuredSnapshots) Put(ctx context.Context, name orchestrator.SnapshotName, content io.Reader) (orchestrator.Snapshot, error) {
	ctx, r := s.t.calls.put.begin(ctx)
	in := &watchedContent{in: content, counter: s.counter(ctx, "put")}
	stored, err := s.store.Put(ctx, name, in)
	if err != nil && in.failure() != nil {
		r.endAs(errorContent)
	} else {
		r.end(err)
	}
	return stored, err
}

// Stat implements orchestrator.SnapshotStore.
func (s *measuredSnapshots) Stat(ctx context.Context, name orchestrator.SnapshotName) (orchestrator.Snapshot, error) {
	ctx, r := s.t.calls.stat.begin(ctx)
	found, err := s.store.Stat(ctx, name)
	r.end(err)
	return found, err
}

// Open implements orchestrator.SnapshotStore. The call that is measured lasts until the reader is closed.
func (s *measuredSnapshots) Open(ctx context.Context, name orchestrator.SnapshotName) (io.ReadCloser, orchestrator.Snapshot, error) {
	ctx, r := s.t.calls.read.begin(ctx)
	content, found, err := s.store.Open(ctx, name)
	if err != nil {
		r.end(err)
		return nil, found, err
	}
	in := &watchedContent{in: content, counter: s.counter(ctx, "read")}
	return &openSnapshot{in, content, sync.OnceFunc(func() { r.end(in.failure()) })}, found, nil
}

// List implements orchestrator.SnapshotStore. The call that is measured lasts until the caller has seen enough.
func (s *measuredSnapshots) List(ctx context.Context, kind orchestrator.SnapshotKind) iter.Seq2[orchestrator.Snapshot, error] {
	return func(yield func(orchestrator.Snapshot, error) bool) {
		ctx, r := s.t.calls.snapshots.begin(ctx)
		var failed error
		defer func() { r.end(failed) }()
		for one, err := range s.store.List(ctx, kind) {
			failed = cmp.Or(err, failed)
			if !yield(one, err) {
				return
			}
		}
	}
}

// Delete implements orchestrator.SnapshotStore.
func (s *measuredSnapshots) Delete(ctx context.Context, name orchestrator.SnapshotName) error {
	ctx, r := s.t.calls.delete.begin(ctx)
	err := s.store.Delete(ctx, name)
	r.end(err)
	return err
}

// Collect implements orchestrator.SnapshotStore.
func (s *measuredSnapshots) Collect(ctx context.Context) (orchestrator.Collected, error) {
	ctx, r := s.t.calls.collect.begin(ctx)
	removed, err := s.store.Collect(ctx)
	r.end(err)
	return removed, err
}

// counter counts the bytes of an operation.
func (s *measuredSnapshots) counter(ctx context.Context, operation string) counter {
	return counter{s.t, s.t.instruments.snapshotBytes, context.WithoutCancel(ctx), []metric.AddOption{metric.WithAttributes(keyOperation.String(operation))}}
}

// A watchedContent counts what is read, and remembers the error that ended it, if that was not io.EOF.
type watchedContent struct {
	in io.Reader
	counter

	mu  sync.Mutex // protects err
	err error
}

// Read implements io.Reader.
func (c *watchedContent) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.add(n)
	if err != nil && err != io.EOF {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.err = err
	}
	return n, err
}

func (c *watchedContent) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// An openSnapshot is a snapshot that is being read.
type openSnapshot struct {
	*watchedContent
	closer io.Closer
	ended  func()
}

// Close implements io.Closer.
func (o *openSnapshot) Close() error {
	defer o.ended()
	return o.closer.Close()
}
