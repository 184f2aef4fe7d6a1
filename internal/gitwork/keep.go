package gitwork

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/berth-go/berth/internal/snapshot"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/work"
)

// SnapshotWork is the kind of the snapshots that hold a patch of a session's work.
const SnapshotWork orchestrator.SnapshotKind = "work"

// SaveBranch returns the branch that keeps the work of a task.
func SaveBranch(task string) string {
	name := strings.NewReplacer("%", "%25", ":", "%3A", "@", "%40", "..", "%2E%2E").Replace(task)
	for _, end := range []string{".lock", "."} {
		if head, ok := strings.CutSuffix(name, end); ok {
			name = head + "%2E" + end[1:]
		}
	}
	return "berth/save/" + name
}

// name returns the name of the snapshot of a task. Tasks of two repositories, or of users who share nothing, never have the same.
func (k Keeper) name(task string) orchestrator.SnapshotName {
	sum := sha256.Sum256([]byte(k.Repository + "\x00" + k.Scope + "\x00" + task))
	return orchestrator.SnapshotName{Kind: SnapshotWork, Key: fmt.Sprintf("%s-%x", task[:min(len(task), 40)], sum[:12])}
}

// A Keeper keeps the work of sessions that end.
type Keeper struct {
	Repository string
	Scope      string                     // separates users who share nothing: see snapshot.Owner. What is on branches is not separated
	Snapshots  orchestrator.SnapshotStore // nil = there is none
	Branches   bool                       // it is pushed to branches. If that fails, or without it, it is put into Snapshots
	Refused    func(error)                // called, unless nil, if the push fails and the work is put into Snapshots instead
	// Pack, unless nil, stores all that a session has under a name, in place of a patch. branch is the one that is checked out
	Pack func(ctx context.Context, name orchestrator.SnapshotName, branch string) error
}

// Keep saves the work of a task, and returns where it is; "" = there is none. The error says what is not saved. With ErrIncomplete, the
// rest is.
func (k Keeper) Keep(ctx context.Context, r Repository, task string) (where string, err error) {
	subject := "berth: unsaved work of task " + task
	var pushed error
	if k.Pack != nil {
		return k.pack(ctx, r, task)
	}
	if k.Branches {
		branch := SaveBranch(task)
		_, err := r.Save(ctx, branch, subject)
		switch {
		case errors.Is(err, work.ErrNoChanges):
			return "", nil
		case err == nil, errors.Is(err, work.ErrIncomplete):
			if k.Snapshots != nil { // what an earlier session of the task has left is older
				err = errors.Join(err, k.Snapshots.Delete(ctx, k.name(task)))
			}
			return "branch " + branch, err
		case k.Snapshots == nil:
			return "", err
		}
		pushed = err
	}
	where, err = k.put(ctx, r, task, subject)
	switch {
	case pushed == nil:
	case err != nil:
		err = errors.Join(pushed, err)
	case where != "" && k.Refused != nil:
		k.Refused(pushed)
	}
	return where, err
}

// pack stores all that the session has, unless that is nothing.
func (k Keeper) pack(ctx context.Context, r Repository, task string) (where string, err error) {
	c, err := r.Changes(ctx) // the rest is to be kept also if git cannot read it
	if err == nil && c.Clean() {
		return "", nil
	}
	if err := k.Pack(ctx, k.name(task), c.Branch); err != nil {
		return "", err
	}
	return "snapshot " + k.name(task).String(), nil
}

// put stores a patch.
func (k Keeper) put(ctx context.Context, r Repository, task, subject string) (where string, err error) {
	patch := r.Patch(ctx, subject, func(fn func()) { go fn() }) // ends with the reader
	defer patch.Close()
	content := &whole{r: bufio.NewReader(patch)}
	if _, err := content.r.Peek(1); errors.Is(err, io.EOF) {
		return "", nil
	} else if errors.Is(err, work.ErrIncomplete) {
		return "", err
	}
	if _, err := k.Snapshots.Put(ctx, k.name(task), content); err != nil {
		return "", err
	}
	return "snapshot " + k.name(task).String(), content.left
}

// whole ends with io.EOF where a patch ends with ErrIncomplete, and remembers that.
type whole struct {
	r    *bufio.Reader
	left error
}

// Read implements io.Reader.
func (w *whole) Read(p []byte) (int, error) {
	n, err := w.r.Read(p)
	if errors.Is(err, work.ErrIncomplete) {
		w.left, err = err, io.EOF
	}
	return n, err
}

// Saved is the saved work of a task.
type Saved struct {
	Base, Branch string           // the commit to which it belongs, and the branch; "" = none
	Whole        *snapshot.Reader // what Keeper.Pack has stored; nil = it is a patch
	patch        *bufio.Reader
	content      io.Closer
}

// Close ends the reading.
func (s *Saved) Close() error { return s.content.Close() }

// Open opens the saved work of a task. The caller closes it. nil = there is none in the store.
func (k Keeper) Open(ctx context.Context, task string) (*Saved, error) {
	if k.Snapshots == nil {
		return nil, nil
	}
	content, _, err := k.Snapshots.Open(ctx, k.name(task))
	switch {
	case errors.Is(err, orchestrator.ErrNoSnapshot):
		return nil, nil
	case err != nil:
		return nil, err
	}
	in := bufio.NewReaderSize(content, maxHead)
	if first, err := in.Peek(1); err == nil && first[0] == '{' {
		r, err := snapshot.Read(struct {
			io.Reader
			io.Closer
		}{in, content})
		if err != nil {
			return nil, err
		}
		return &Saved{Base: r.Header.Commit, Branch: r.Header.Branch, Whole: r, content: content}, nil
	}
	saved := &Saved{patch: in, content: content}
	head, err := in.Peek(maxHead)
	if err != nil && err != io.EOF {
		content.Close()
		return nil, err
	}
	for line := range strings.Lines(string(head)) {
		if strings.HasPrefix(line, "diff --git ") {
			break
		}
		if value, found := strings.CutPrefix(line, "Berth-Base: "); found {
			saved.Base = strings.TrimSpace(value)
		}
		if value, found := strings.CutPrefix(line, "Berth-Branch: "); found {
			saved.Branch = strings.TrimSpace(value)
		}
	}
	return saved, nil
}

// maxHead bounds what comes before the first file of a patch.
const maxHead = 64 << 10

// Apply applies a patch to a checkout of its base. Nothing is changed unless the patch is what was stored.
func (s *Saved) Apply(ctx context.Context, r Repository) error {
	return r.Apply(ctx, s.Branch, s.patch)
}
