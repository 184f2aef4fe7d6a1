package gitwork

import (
	"context"
	"io"
)

// Save pushes all that the remote does not have, as one commit upon HEAD, to a branch of its own, which it replaces. Neither index nor
// branches of the session change. ErrNoChanges: there is nothing to save. ErrIncomplete: the rest is saved.
func (r Repository) Save(ctx context.Context, branch, subject string) (commit string, err error) {
	return r.push(ctx, Args(OpSave, r.Start, branch, subject))
}

// Unsave makes of a checkout of the branch of Save what was saved: the branch, its commits, and files that are not committed. It returns
// the branch; "" = HEAD is detached.
func (r Repository) Unsave(ctx context.Context) (branch string, err error) {
	return r.line(ctx, "reset", Call{Args: Args(OpUnsave)})
}

// Apply applies a patch to the files, and makes HEAD that branch; "" = HEAD stays detached.
func (r Repository) Apply(ctx context.Context, branch string, patch io.Reader) error {
	_, err := r.line(ctx, "apply", Call{Args: Args(OpApply, branch), Stdin: patch})
	return err
}
