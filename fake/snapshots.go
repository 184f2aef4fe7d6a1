package fake

import (
	"bytes"
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"iter"
	"maps"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth/internal/snapshots"
	"github.com/berth-go/berth/orchestrator"
)

// The verbs of Snapshots.
const (
	PutSnapshot      Verb = "snapshots.Put"
	StatSnapshot     Verb = "snapshots.Stat"
	OpenSnapshot     Verb = "snapshots.Open"
	ListSnapshots    Verb = "snapshots.List"
	DeleteSnapshot   Verb = "snapshots.Delete"
	CollectSnapshots Verb = "snapshots.Collect"
)

// SnapshotOptions describes a Snapshots.
type SnapshotOptions struct {
	Latency time.Duration // of each call. Default 20 ms; -1 = none
	// Grace is how long a content without a name is kept. Default: a day.
	Grace time.Duration
	// Fault, if not nil, is called before each call that has no other fault due. Many goroutines may call it at once,
	// and it must not block.
	Fault func(Call) Fault
}

// Snapshots is an orchestrator.SnapshotStore in memory. Its clock is that of the time package. All methods are safe for concurrent
// use.
type Snapshots struct {
	Faults
	opts  SnapshotOptions
	store *snapshots.Store

	mu      sync.Mutex // protects the fields below; never held while waiting
	objects map[string]memory
	stages  []time.Time // when the uploads began that died
	cutPuts int
	cutGets int
}

var _ orchestrator.SnapshotStore = (*Snapshots)(nil)

// NewSnapshots returns a store of snapshots without any.
func NewSnapshots(opts SnapshotOptions) *Snapshots {
	opts.Latency = max(cmp.Or(opts.Latency, 20*time.Millisecond), 0)
	s := &Snapshots{opts: opts, objects: make(map[string]memory)}
	s.store = snapshots.New(memoryBucket{s}, opts.Grace)
	s.init(opts.Fault, PutSnapshot, StatSnapshot, OpenSnapshot, ListSnapshots, DeleteSnapshot, CollectSnapshots)
	return s
}

// ChangeContent changes a snapshot's stored content from outside; nil removes it. Other names of the same content have the change, too. It
// panics if there is no such snapshot or no content.
func (s *Snapshots) ChangeContent(name orchestrator.SnapshotName, change func([]byte) []byte) {
	found, err := s.store.Stat(context.Background(), name)
	if err != nil {
		panic(fmt.Sprintf("fake: %v", err))
	}
	s.change("blobs/"+strings.TrimPrefix(found.Digest, "sha256:")+".", change)
}

// ChangeDescription changes what is stored under a name: where its content is, and what it should be. The key of the name has lower-case
// letters, digits, "-" and "_" alone.
func (s *Snapshots) ChangeDescription(name orchestrator.SnapshotName, change func([]byte) []byte) {
	s.change("names/"+name.String(), change)
}

// Corrupt flips a bit in the middle of a snapshot's content.
func (s *Snapshots) Corrupt(name orchestrator.SnapshotName) {
	s.ChangeContent(name, func(content []byte) []byte {
		content[len(content)/2] ^= 1
		return content
	})
}

// Truncate removes the second half of a snapshot's content.
func (s *Snapshots) Truncate(name orchestrator.SnapshotName) {
	s.ChangeContent(name, func(content []byte) []byte { return content[:len(content)/2] })
}

// Lose removes a snapshot's content, as an operator does who cleans up in the wrong place.
func (s *Snapshots) Lose(name orchestrator.SnapshotName) {
	s.ChangeContent(name, func([]byte) []byte { return nil })
}

// cutAfter is how many bytes of a content CutPuts lets through.
const cutAfter = 64 << 10

// CutPuts makes the next n calls of Put fail after 64 KiB, or at the end of a shorter content. They leave what they have stored, as a
// process does that dies; Collect counts it.
func (s *Snapshots) CutPuts(n int) { s.mu.Lock(); s.cutPuts += n; s.mu.Unlock() }

// CutReads makes the next n readers that Open returns fail after half of the content, as a connection does that breaks.
func (s *Snapshots) CutReads(n int) { s.mu.Lock(); s.cutGets += n; s.mu.Unlock() }

// Contents returns the number of stored contents, with a name or without.
func (s *Snapshots) Contents() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := 0
	for name := range s.objects {
		if strings.HasPrefix(name, "blobs/") {
			n++
		}
	}
	return n
}

// change changes the newest object whose name begins with a prefix, and keeps its time.
func (s *Snapshots) change(prefix string, change func([]byte) []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, name := range slices.Backward(slices.Sorted(maps.Keys(s.objects))) {
		if !strings.HasPrefix(name, prefix) {
			continue
		}
		o := s.objects[name]
		if o.content = change(bytes.Clone(o.content)); o.content == nil {
			delete(s.objects, name)
		} else {
			s.objects[name] = o
		}
		return
	}
	panic(fmt.Sprintf("fake: there is no object %q", prefix))
}

func (s *Snapshots) call(ctx context.Context, v Verb, name orchestrator.SnapshotName) (reply, error) {
	r, err := s.begin(ctx, Call{Verb: v, Container: name.String()}, s.opts.Latency, nil)
	if err != nil {
		return r, fmt.Errorf("fake: %s: %w", v, err)
	}
	return r, nil
}

// Put implements [orchestrator.SnapshotStore].
func (s *Snapshots) Put(ctx context.Context, name orchestrator.SnapshotName, content io.Reader) (orchestrator.Snapshot, error) {
	r, err := s.call(ctx, PutSnapshot, name)
	if err != nil {
		return orchestrator.Snapshot{}, err
	}
	s.mu.Lock()
	if s.cutPuts > 0 {
		s.cutPuts--
		s.stages = append(s.stages, time.Now())
		content = &cutReader{from: content, left: cutAfter}
	}
	s.mu.Unlock()
	stored, err := s.store.Put(ctx, name, content)
	return stored, r.finish(ctx, err)
}

// Stat implements [orchestrator.SnapshotStore].
func (s *Snapshots) Stat(ctx context.Context, name orchestrator.SnapshotName) (orchestrator.Snapshot, error) {
	r, err := s.call(ctx, StatSnapshot, name)
	if err != nil {
		return orchestrator.Snapshot{}, err
	}
	found, err := s.store.Stat(ctx, name)
	return found, r.finish(ctx, err)
}

// Open implements [orchestrator.SnapshotStore].
func (s *Snapshots) Open(ctx context.Context, name orchestrator.SnapshotName) (io.ReadCloser, orchestrator.Snapshot, error) {
	r, err := s.call(ctx, OpenSnapshot, name)
	if err != nil {
		return nil, orchestrator.Snapshot{}, err
	}
	content, found, err := s.store.Open(ctx, name)
	if err = r.finish(ctx, err); err != nil {
		return nil, orchestrator.Snapshot{}, err
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cutGets > 0 {
		s.cutGets--
		return cutReadCloser{&cutReader{from: content, left: found.Size / 2}, content}, found, nil
	}
	return content, found, nil
}

// List implements [orchestrator.SnapshotStore].
func (s *Snapshots) List(ctx context.Context, kind orchestrator.SnapshotKind) iter.Seq2[orchestrator.Snapshot, error] {
	return func(yield func(orchestrator.Snapshot, error) bool) {
		r, err := s.call(ctx, ListSnapshots, orchestrator.SnapshotName{Kind: kind})
		if err == nil {
			err = r.finish(ctx, nil)
		}
		if err != nil {
			yield(orchestrator.Snapshot{}, err)
			return
		}
		s.store.List(ctx, kind)(yield)
	}
}

// Delete implements [orchestrator.SnapshotStore].
func (s *Snapshots) Delete(ctx context.Context, name orchestrator.SnapshotName) error {
	r, err := s.call(ctx, DeleteSnapshot, name)
	if err != nil {
		return err
	}
	return r.finish(ctx, s.store.Delete(ctx, name))
}

// Collect implements [orchestrator.SnapshotStore].
func (s *Snapshots) Collect(ctx context.Context) (orchestrator.Collected, error) {
	r, err := s.call(ctx, CollectSnapshots, orchestrator.SnapshotName{})
	if err != nil {
		return orchestrator.Collected{}, err
	}
	collected, err := s.store.Collect(ctx)
	return collected, r.finish(ctx, err)
}

// errStreamCut ends a stream that CutPuts or CutReads cuts.
var errStreamCut = errors.New("fake: the stream of a snapshot was cut off")

// cutReader fails after some bytes, or where its source ends before.
type cutReader struct {
	from io.Reader
	left int64
}

func (c *cutReader) Read(p []byte) (int, error) {
	if c.left <= 0 {
		return 0, errStreamCut
	}
	n, err := c.from.Read(p[:min(int64(len(p)), c.left)])
	c.left -= int64(n)
	if errors.Is(err, io.EOF) {
		err = errStreamCut
	}
	return n, err
}

type cutReadCloser struct {
	*cutReader
	io.Closer
}
