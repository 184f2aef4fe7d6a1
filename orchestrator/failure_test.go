package orchestrator

import (
	"errors"
	"fmt"
	"testing"

	"github.com/berth-go/berth/agent"
)

// TestErrorsSurviveTheStore checks that an error that was stored has the same text afterwards, and matches the same
// sentinels.
func TestErrorsSurviveTheStore(t *testing.T) {
	own := errors.New("the caller's own")
	more := map[string]error{"own": own}
	for _, row := range []struct {
		err  error
		want error
	}{
		{fmt.Errorf("x: %w", ErrImage), ErrImage},
		{fmt.Errorf("x: %w", ErrWrongHost), ErrWrongHost},
		{fmt.Errorf("branch: %w", agent.ErrBranchNotFound), agent.ErrBranchNotFound},
		{fmt.Errorf("%w: %w", own, agent.ErrGone), own}, // the caller's own sentinels have precedence
		{errors.New("x"), nil},
	} {
		cause, message := Stored(row.err, more)
		got := Recalled(cause, message, more)
		if got.Error() != row.err.Error() || row.want != nil && !errors.Is(got, row.want) || (cause == "") != (row.want == nil) {
			t.Errorf("%v came back as %q, %v", row.err, cause, got)
		}
	}
	for _, err := range []error{
		&agent.GitError{Op: "fetch", Message: "fatal: x: y"},
		fmt.Errorf("branch %q: %w", "b", &agent.GitError{Op: "clone", Message: "fatal: z"}),
	} {
		was, _ := errors.AsType[*agent.GitError](err)
		cause, message := Stored(err, more)
		got := Recalled(cause, message, more)
		if is, ok := errors.AsType[*agent.GitError](got); !ok || *is != *was || got.Error() != err.Error() {
			t.Errorf("%v came back as %v", err, got)
		}
	}
	if got := Recalled("of a later version", "x", more); got.Error() != "x" || errors.Unwrap(got) != nil {
		t.Errorf("an unknown cause came back as %v", got)
	}
}
