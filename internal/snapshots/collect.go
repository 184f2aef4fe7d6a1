package snapshots

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/berth-go/berth/orchestrator"
)

// Collect implements [orchestrator.SnapshotStore]. The package comment says why it removes nothing that has a name.
func (s *Store) Collect(ctx context.Context) (orchestrator.Collected, error) {
	collected, err := s.collect(ctx)
	if err != nil {
		err = fmt.Errorf("collect snapshots: %w", err)
	}
	return collected, err
}

func (s *Store) collect(ctx context.Context) (orchestrator.Collected, error) {
	var done orchestrator.Collected
	state, err := s.observe(ctx)
	if err != nil {
		return done, err
	}
	for _, step := range state.plan(s.grace) {
		if step.mark != "" {
			err = s.bucket.Write(ctx, step.mark, []byte("berth\n"))
		} else {
			err = s.bucket.Remove(ctx, step.remove)
		}
		if err != nil {
			return done, err
		}
		if step.content {
			done.Contents++
			done.Bytes += step.size
		}
	}
	done.Uploads, err = s.bucket.RemoveStages(ctx, state.now.Add(-s.grace))
	return done, err
}

// observation is what a Collect has found.
type observation struct {
	now   time.Time
	blobs []Object          // without "blobs/" in their names
	marks map[string]Object // by their names without "marks/"
	named map[string]bool   // the blobs that names have
}

// observe reads the names last: the plan depends on that.
func (s *Store) observe(ctx context.Context) (observation, error) {
	o := observation{marks: make(map[string]Object), named: make(map[string]bool)}
	var err error
	if o.now, err = s.now(ctx); err != nil {
		return o, err
	}
	for found, err := range s.bucket.List(ctx, marks) {
		if err != nil {
			return o, err
		}
		o.marks[strings.TrimPrefix(found.Name, marks)] = found
	}
	for found, err := range s.bucket.List(ctx, blobs) {
		if err != nil {
			return o, err
		}
		found.Name = strings.TrimPrefix(found.Name, blobs)
		o.blobs = append(o.blobs, found)
	}
	for m, err := range s.manifests(ctx, "") {
		switch {
		case errors.Is(err, orchestrator.ErrSnapshotCorrupt): // nobody can open it
		case err != nil:
			return o, err
		default:
			o.named[m.Blob] = true
		}
	}
	return o, nil
}

// step is one change that a Collect makes.
type step struct {
	mark    string // the mark to write, or ""
	remove  string // the object to remove
	content bool   // it is a content
	size    int64  // of the content
}

// plan returns what to do, in this order: a content goes before its marks.
func (o observation) plan(grace time.Duration) (steps []step) {
	exists := make(map[string]bool, len(o.blobs))
	for _, b := range o.blobs {
		exists[b.Name] = true
		mark, marked := o.marks[b.Name+unused]
		switch {
		case o.named[b.Name] && marked:
			steps = append(steps, step{remove: mark.Name})
		case o.named[b.Name]:
		case !marked:
			steps = append(steps, step{mark: marks + b.Name + unused})
		case o.now.Sub(mark.Time) >= grace:
			steps = append(steps, step{remove: blobs + b.Name, content: true, size: b.Size}, step{remove: mark.Name})
			if bad, ok := o.marks[b.Name+corrupt]; ok {
				steps = append(steps, step{remove: bad.Name})
			}
		}
	}
	for name, mark := range o.marks {
		blob := strings.TrimSuffix(strings.TrimSuffix(name, unused), corrupt)
		if !exists[blob] && o.now.Sub(mark.Time) >= grace {
			steps = append(steps, step{remove: mark.Name})
		}
	}
	return steps
}
