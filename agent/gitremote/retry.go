package gitremote

import (
	"fmt"
	"time"
)

// How often a fetch is tried if it fails for a reason that may pass. Git does not report a Retry-After header.
const (
	MaxTries   = 5
	FirstPause = time.Second // doubles with each try
	// RetryFor bounds when the last try begins: a failure that took long may take as long again.
	RetryFor = 30 * time.Second
)

// Retry calls try until try returns nil or an error that does not pass, or until MaxTries or RetryFor is reached. It returns
// the last error and the number of tries. passing is Passing for an error. Before each pause Retry calls tell with the number
// of the next try. An error of sleep ends it.
func Retry(try func() error, passing func(error) bool, tell func(next int, pause time.Duration, err error), sleep func(time.Duration) error) (tries int, err error) {
	begun := time.Now()
	for n, pause := 1, FirstPause; ; n, pause = n+1, 2*pause {
		err := try()
		if err == nil || !passing(err) || n == MaxTries || time.Since(begun)+pause > RetryFor {
			return n, err
		}
		tell(n+1, pause, err)
		if sleep(pause) != nil {
			return n, err
		}
	}
}

// Again returns a phase for Progress: the remote has failed and is tried again.
func Again(next int, pause time.Duration) string {
	return fmt.Sprintf("The remote failed; trying again in %v (try %d of %d)", pause, next, MaxTries)
}

// Tried adds the number of tries to the message of the last failure.
func Tried(message string, tries int) string {
	return fmt.Sprintf("%s (tried %d times)", message, tries)
}
