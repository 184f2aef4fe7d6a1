package fake

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/internal/snapshots"
)

// memory is an object in memory.
type memory struct {
	content []byte // never changed
	at      time.Time
}

// memoryBucket is the snapshots.Bucket of a Snapshots.
type memoryBucket struct{ *Snapshots }

// Stage implements [snapshots.Bucket].
func (b memoryBucket) Stage(ctx context.Context) (snapshots.Stage, error) {
	return &memoryStage{bucket: b}, context.Cause(ctx)
}

type memoryStage struct {
	bytes.Buffer
	bucket memoryBucket
}

// Store implements [snapshots.Stage].
func (s *memoryStage) Store(ctx context.Context, name string, _ [32]byte) error {
	return s.bucket.Write(ctx, name, s.Bytes())
}

// Close implements [snapshots.Stage].
func (s *memoryStage) Close() error { return nil }

// Write implements [snapshots.Bucket].
func (b memoryBucket) Write(ctx context.Context, name string, content []byte) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.objects[name] = memory{append([]byte{}, content...), time.Now()}
	return nil
}

func (b memoryBucket) get(ctx context.Context, name string) (memory, error) {
	if ctx.Err() != nil {
		return memory{}, context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	o, ok := b.objects[name]
	if !ok {
		return o, fmt.Errorf("fake: %s: %w", name, fs.ErrNotExist)
	}
	return o, nil
}

// Read implements [snapshots.Bucket].
func (b memoryBucket) Read(ctx context.Context, name string) (io.ReadCloser, snapshots.Object, error) {
	o, err := b.get(ctx, name)
	return io.NopCloser(bytes.NewReader(o.content)), o.object(name), err
}

// Stat implements [snapshots.Bucket].
func (b memoryBucket) Stat(ctx context.Context, name string) (snapshots.Object, error) {
	o, err := b.get(ctx, name)
	return o.object(name), err
}

func (o memory) object(name string) snapshots.Object {
	return snapshots.Object{Name: name, Size: int64(len(o.content)), Time: o.at}
}

// List implements [snapshots.Bucket].
func (b memoryBucket) List(ctx context.Context, prefix string) iter.Seq2[snapshots.Object, error] {
	return func(yield func(snapshots.Object, error) bool) {
		b.mu.Lock()
		objects := maps.Clone(b.objects)
		b.mu.Unlock()
		if ctx.Err() != nil {
			yield(snapshots.Object{}, context.Cause(ctx))
			return
		}
		for _, name := range slices.Sorted(maps.Keys(objects)) {
			if strings.HasPrefix(name, prefix) && !yield(objects[name].object(name), nil) {
				return
			}
		}
	}
}

// Remove implements [snapshots.Bucket].
func (b memoryBucket) Remove(ctx context.Context, name string) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	delete(b.objects, name)
	return nil
}

// RemoveStages implements [snapshots.Bucket].
func (b memoryBucket) RemoveStages(_ context.Context, before time.Time) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	had := len(b.stages)
	b.stages = slices.DeleteFunc(b.stages, func(began time.Time) bool { return began.Before(before) })
	return had - len(b.stages), nil
}
