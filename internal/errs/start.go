package errs

import (
	"fmt"

	"github.com/berth-go/berth/internal/plain"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// A StartError says why a session could not be created. Package berth makes its own StartError of it for its users.
type StartError struct {
	Phase      store.Phase
	TaskID     string
	Repository naming.Repository
	Err        error // holds git's or the engine's own message
}

func (e *StartError) Error() string {
	return plain.Text(fmt.Sprintf("berth: task %q on %s failed while %s: %v", e.TaskID, e.Repository, e.Doing(), e.Err))
}

// Unwrap returns Err.
func (e *StartError) Unwrap() error { return e.Err }

// Doing names the step that failed, as in "failed while fetching".
func (e *StartError) Doing() string {
	if e.Phase == store.PhaseCheckout {
		return "checking out"
	}
	return string(e.Phase)
}
