package snapshots

import (
	"bytes"
	"context"
	"io"
	"io/fs"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"
)

// memory is a Bucket in memory.
type memory struct {
	mu      sync.Mutex // protects objects
	objects map[string]object
}

func newMemory() *memory { return &memory{objects: make(map[string]object)} }

type object struct {
	content []byte
	at      time.Time
}

// actor is the key of a context's function that is called before each call of a bucket.
type actor struct{}

// acting makes a function be called before each call of a bucket with this context, one at a time.
func acting(ctx context.Context, before func()) context.Context {
	turn := make(chan struct{}, 1) // a lock on which a bubble of synctest can wait
	return context.WithValue(ctx, actor{}, func() {
		turn <- struct{}{}
		defer func() { <-turn }()
		before()
	})
}

func (m *memory) call(ctx context.Context) {
	if before, ok := ctx.Value(actor{}).(func()); ok {
		before()
	}
}

type memoryStage struct {
	bytes.Buffer
	bucket *memory
}

func (s *memoryStage) Store(ctx context.Context, name string, _ [32]byte) error {
	return s.bucket.Write(ctx, name, s.Bytes())
}

func (s *memoryStage) Close() error { return nil }

func (m *memory) Stage(context.Context) (Stage, error) { return &memoryStage{bucket: m}, nil }

func (m *memory) Write(ctx context.Context, name string, content []byte) error {
	m.call(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	m.objects[name] = object{bytes.Clone(content), time.Now()}
	return nil
}

func (m *memory) Read(ctx context.Context, name string) (io.ReadCloser, Object, error) {
	o, found, err := m.get(ctx, name)
	return io.NopCloser(bytes.NewReader(found.content)), o, err
}

func (m *memory) get(ctx context.Context, name string) (Object, object, error) {
	m.call(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	o, ok := m.objects[name]
	if !ok {
		return Object{}, o, fs.ErrNotExist
	}
	return Object{name, int64(len(o.content)), o.at}, o, nil
}

func (m *memory) Stat(ctx context.Context, name string) (Object, error) {
	o, _, err := m.get(ctx, name)
	return o, err
}

func (m *memory) List(ctx context.Context, prefix string) iter.Seq2[Object, error] {
	m.call(ctx)
	m.mu.Lock()
	objects := maps.Clone(m.objects)
	m.mu.Unlock()
	return func(yield func(Object, error) bool) {
		for _, name := range slices.Sorted(maps.Keys(objects)) {
			o := objects[name]
			if strings.HasPrefix(name, prefix) && !yield(Object{name, int64(len(o.content)), o.at}, nil) {
				return
			}
		}
	}
}

func (m *memory) Remove(ctx context.Context, name string) error {
	m.call(ctx)
	m.mu.Lock()
	defer m.mu.Unlock()
	delete(m.objects, name)
	return nil
}

func (m *memory) RemoveStages(context.Context, time.Time) (int, error) { return 0, nil }
