package snapshots

import (
	"cmp"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/berth-go/berth/orchestrator"
)

// Grace is how long a content without a name is kept, if the driver's Config does not say. It must be longer than any Put waits between
// finding its content and writing its name, twice over.
const Grace = 24 * time.Hour

// Store is an orchestrator.SnapshotStore over a Bucket.
type Store struct {
	bucket Bucket
	grace  time.Duration
}

var _ orchestrator.SnapshotStore = (*Store)(nil)

// New returns a Store. A grace of 0 is Grace. All processes that use a bucket need the same.
func New(bucket Bucket, grace time.Duration) *Store {
	return &Store{bucket: bucket, grace: cmp.Or(grace, Grace)}
}

// errLate is the error of a Put that stood still for so long that its content may be collected.
var errLate = errors.New("the content may have been collected before its name was written")

// Put implements [orchestrator.SnapshotStore].
func (s *Store) Put(ctx context.Context, name orchestrator.SnapshotName, content io.Reader) (orchestrator.Snapshot, error) {
	path, err := pathOf(name)
	if err != nil {
		return orchestrator.Snapshot{}, err
	}
	stored, err := s.put(ctx, name, path, content)
	if err != nil {
		return orchestrator.Snapshot{}, fmt.Errorf("store snapshot %s: %w", name, err)
	}
	return stored, nil
}

func (s *Store) put(ctx context.Context, name orchestrator.SnapshotName, path string, content io.Reader) (orchestrator.Snapshot, error) {
	var none orchestrator.Snapshot
	stage, err := s.bucket.Stage(ctx)
	if err != nil {
		return none, err
	}
	defer stage.Close()
	hash := sha256.New()
	size, err := io.CopyBuffer(io.MultiWriter(stage, hash), bounded{ctx, content}, make([]byte, 256<<10))
	if err != nil {
		return none, err
	}
	digest := [sha256.Size]byte(hash.Sum(nil))
	blob, err := s.ensure(ctx, stage, digest, size)
	if err != nil {
		return none, err
	}
	m := manifest{Version: version, Kind: name.Kind, Key: name.Key, Digest: "sha256:" + hex.EncodeToString(digest[:]), Size: size, Blob: blob}
	text, err := json.Marshal(m)
	if err != nil {
		return none, err
	}
	if err := s.bucket.Write(ctx, path, text); err != nil {
		return none, err
	}
	if err := s.confirm(ctx, blob); err != nil {
		return none, err
	}
	at, err := s.bucket.Stat(ctx, path)
	if err != nil && !errors.Is(err, fs.ErrNotExist) { // another process may have deleted it by now
		return none, err
	}
	return m.snapshot(at), nil
}

// ensure returns the blob that holds a content. It stores the content unless the bucket has it.
func (s *Store) ensure(ctx context.Context, stage Stage, digest [sha256.Size]byte, size int64) (blob string, err error) {
	sum := hex.EncodeToString(digest[:])
	marked, err := s.marksOf(ctx, sum)
	if err != nil {
		return "", err
	}
	epoch := time.Now().UnixNano() / int64(s.grace/2)
	for o, err := range s.bucket.List(ctx, blobs+sum+".") {
		if err != nil {
			return "", err
		}
		b := strings.TrimPrefix(o.Name, blobs)
		switch {
		case marked.late[b]: // a Collect may remove it at any time, so another one has another name
			if of, err := strconv.ParseInt(strings.TrimPrefix(b, sum+"."), 10, 64); err == nil {
				epoch = max(epoch, of+1)
			}
		case o.Size == size && !marked.corrupt[b]:
			return b, nil
		}
	}
	blob = sum + "." + strconv.FormatInt(epoch, 10)
	if err := stage.Store(ctx, blobs+blob, digest); err != nil {
		return "", err
	}
	if marked.corrupt[blob] { // it has been replaced
		return blob, s.bucket.Remove(ctx, marks+blob+corrupt)
	}
	return blob, nil
}

// confirm checks, after a name was written, that no Collect can have missed the name.
func (s *Store) confirm(ctx context.Context, blob string) error {
	sum, _, _ := strings.Cut(blob, ".")
	marked, err := s.marksOf(ctx, sum)
	if err != nil {
		return err
	}
	_, err = s.bucket.Stat(ctx, blobs+blob) // after the mark, which goes after the blob
	if marked.late[blob] || errors.Is(err, fs.ErrNotExist) {
		return errLate
	}
	return err
}

// blobMarks are the marks of the blobs of a digest.
type blobMarks struct {
	late    map[string]bool // unused for at least half the grace period
	corrupt map[string]bool
}

func (s *Store) marksOf(ctx context.Context, sum string) (blobMarks, error) {
	found := blobMarks{late: make(map[string]bool), corrupt: make(map[string]bool)}
	var now time.Time
	for o, err := range s.bucket.List(ctx, marks+sum+".") {
		if err != nil {
			return found, err
		}
		mark := strings.TrimPrefix(o.Name, marks)
		if blob, ok := strings.CutSuffix(mark, corrupt); ok {
			found.corrupt[blob] = true
		} else if blob, ok := strings.CutSuffix(mark, unused); ok {
			if now.IsZero() {
				if now, err = s.now(ctx); err != nil {
					return found, err
				}
			}
			found.late[blob] = now.Sub(o.Time) >= s.grace/2
		}
	}
	return found, nil
}

// now returns the time of the bucket's clock.
func (s *Store) now(ctx context.Context) (time.Time, error) {
	if err := s.bucket.Write(ctx, clock, []byte("berth\n")); err != nil {
		return time.Time{}, err
	}
	o, err := s.bucket.Stat(ctx, clock)
	return o.Time, err
}

// Stat implements [orchestrator.SnapshotStore].
func (s *Store) Stat(ctx context.Context, name orchestrator.SnapshotName) (orchestrator.Snapshot, error) {
	m, at, err := s.read(ctx, name)
	if err != nil {
		return orchestrator.Snapshot{}, err
	}
	return m.snapshot(at), nil
}

// read reads the manifest of a name.
func (s *Store) read(ctx context.Context, name orchestrator.SnapshotName) (manifest, Object, error) {
	path, err := pathOf(name)
	if err != nil {
		return manifest{}, Object{}, err
	}
	r, at, err := s.bucket.Read(ctx, path)
	if errors.Is(err, fs.ErrNotExist) {
		return manifest{}, Object{}, fmt.Errorf("%s: %w", name, orchestrator.ErrNoSnapshot)
	} else if err != nil {
		return manifest{}, Object{}, fmt.Errorf("read the description of snapshot %s: %w", name, err)
	}
	defer r.Close()
	text, err := io.ReadAll(io.LimitReader(r, maxManifest))
	if err != nil {
		return manifest{}, Object{}, fmt.Errorf("read the description of snapshot %s: %w", name, err)
	}
	m, err := parse(text, name)
	return m, at, err
}

// Open implements [orchestrator.SnapshotStore].
func (s *Store) Open(ctx context.Context, name orchestrator.SnapshotName) (io.ReadCloser, orchestrator.Snapshot, error) {
	var none orchestrator.Snapshot
	m, at, err := s.read(ctx, name)
	if err != nil {
		return nil, none, err
	}
	body, o, err := s.bucket.Read(ctx, blobs+m.Blob)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, none, fmt.Errorf("%w: %s: its content is gone", orchestrator.ErrSnapshotCorrupt, name)
	case err != nil:
		return nil, none, fmt.Errorf("open snapshot %s: %w", name, err)
	case o.Size != m.Size: // nothing else can have replaced it, so no reader need see it
		body.Close()
		return nil, none, fmt.Errorf("%w: %s: its content has %d bytes, not %d", orchestrator.ErrSnapshotCorrupt, name, o.Size, m.Size)
	}
	want := m.snapshot(at)
	return verify(ctx, body, want, func() { s.markCorrupt(ctx, m.Blob) }), want, nil
}

// markCorrupt keeps a Put of the same content from using a damaged one. A reader need not have the right to write, so an error is
// no fault.
func (s *Store) markCorrupt(ctx context.Context, blob string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	_ = s.bucket.Write(ctx, marks+blob+corrupt, []byte("berth\n"))
}

// List implements [orchestrator.SnapshotStore].
func (s *Store) List(ctx context.Context, kind orchestrator.SnapshotKind) iter.Seq2[orchestrator.Snapshot, error] {
	return func(yield func(orchestrator.Snapshot, error) bool) {
		for m, err := range s.manifests(ctx, kind) {
			if err != nil && !errors.Is(err, orchestrator.ErrSnapshotCorrupt) {
				yield(orchestrator.Snapshot{}, fmt.Errorf("list snapshots: %w", err))
				return
			}
			if !yield(m.snapshot(m.at), err) {
				return
			}
		}
	}
}

// stored is a manifest and the object that holds it. If that is corrupt, only kind and key are set.
type stored struct {
	manifest
	at Object
}

// readers is how many manifests a list reads at a time, and batch how many it reads before it gives the first one away.
const (
	readers = 16
	batch   = 256
)

// manifests lists the manifests of a kind. Errors are as in List.
func (s *Store) manifests(ctx context.Context, kind orchestrator.SnapshotKind) iter.Seq2[stored, error] {
	prefix := names
	if kind != "" {
		prefix += string(kind) + "/"
	}
	return func(yield func(stored, error) bool) {
		var pending []orchestrator.SnapshotName
		for o, err := range s.bucket.List(ctx, prefix) {
			if err != nil {
				yield(stored{}, err)
				return
			}
			if name, ok := nameAt(o.Name); ok {
				pending = append(pending, name)
			}
			if len(pending) == batch {
				if !s.readAll(ctx, pending, yield) {
					return
				}
				pending = pending[:0]
			}
		}
		s.readAll(ctx, pending, yield)
	}
}

// readAll reads manifests and yields them. It returns false if the list is to end.
func (s *Store) readAll(ctx context.Context, pending []orchestrator.SnapshotName, yield func(stored, error) bool) bool {
	var (
		found  = make([]stored, len(pending))
		faults = make([]error, len(pending))
		group  errgroup.Group
	)
	group.SetLimit(readers)
	for i, name := range pending {
		group.Go(func() error {
			found[i].manifest, found[i].at, faults[i] = s.read(ctx, name)
			return nil
		})
	}
	_ = group.Wait() // every fault is in faults
	for i, name := range pending {
		switch err := faults[i]; {
		case errors.Is(err, orchestrator.ErrNoSnapshot): // deleted meanwhile
			continue
		case errors.Is(err, orchestrator.ErrSnapshotCorrupt):
			found[i] = stored{manifest: manifest{Kind: name.Kind, Key: name.Key}}
			if !yield(found[i], err) {
				return false
			}
		case err != nil:
			yield(stored{}, err)
			return false
		case !yield(found[i], nil):
			return false
		}
	}
	return true
}

// Delete implements [orchestrator.SnapshotStore].
func (s *Store) Delete(ctx context.Context, name orchestrator.SnapshotName) error {
	path, err := pathOf(name)
	if err != nil {
		return err
	}
	if err := s.bucket.Remove(ctx, path); err != nil {
		return fmt.Errorf("delete snapshot %s: %w", name, err)
	}
	return nil
}
