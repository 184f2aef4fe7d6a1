package gitwork

import (
	"bufio"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"strings"

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

// name returns the name of the snapshot of a task. Tasks of two repositories never have the same.
func (k Keeper) name(task string) orchestrator.SnapshotName {
	sum := sha256.Sum256([]byte(k.Repository + "\x00" + task))
	return orchestrator.SnapshotName{Kind: SnapshotWork, Key: fmt.Sprintf("%s-%x", task[:min(len(task), 40)], sum[:12])}
}

// A Keeper keeps the work of sessions that end.
type Keeper struct {
	Repository string
	Snapshots  orchestrator.SnapshotStore // nil = there is none
	Branches   bool                       // it is pushed to branches. If that fails, or without it, it is put into Snapshots
}

// Keep saves the work of a task, and returns where it is; "" = there is none. The error says what is not saved. With ErrIncomplete, the
// rest is.
func (k Keeper) Keep(ctx context.Context, r Repository, task string) (where string, err error) {
	subject := "berth: unsaved work of task " + task
	var pushed error
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
	if err != nil && pushed != nil {
		err = errors.Join(pushed, err)
	}
	return where, err
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

// Find returns the commit to which the patch of a task belongs, and its branch; "" = none. ok is false if there is no patch.
func (k Keeper) Find(ctx context.Context, task string) (base, branch string, ok bool, err error) {
	if k.Snapshots == nil {
		return "", "", false, nil
	}
	content, _, err := k.Snapshots.Open(ctx, k.name(task))
	switch {
	case errors.Is(err, orchestrator.ErrNoSnapshot):
		return "", "", false, nil
	case err != nil:
		return "", "", false, err
	}
	defer content.Close()
	lines := bufio.NewScanner(io.LimitReader(content, 64<<10))
	for lines.Scan() && !strings.HasPrefix(lines.Text(), "diff --git ") {
		if value, found := strings.CutPrefix(lines.Text(), "Berth-Base: "); found {
			base = value
		}
		if value, found := strings.CutPrefix(lines.Text(), "Berth-Branch: "); found {
			branch = value
		}
	}
	return base, branch, true, lines.Err()
}

// Restore applies the patch of a task to a checkout of its base. Nothing is changed unless the patch is what was stored.
func (k Keeper) Restore(ctx context.Context, r Repository, task string) (branch string, err error) {
	_, branch, _, err = k.Find(ctx, task)
	if err != nil {
		return "", err
	}
	content, _, err := k.Snapshots.Open(ctx, k.name(task))
	if err != nil {
		return "", err
	}
	defer content.Close()
	return branch, r.Apply(ctx, branch, content)
}
