package pool

import (
	"errors"
	"time"

	"github.com/berth-go/berth/store"
)

// The bounds of the pause after failed launches: it doubles from the first to the second.
const (
	minLaunchPause = 5 * time.Second
	maxLaunchPause = 5 * time.Minute
)

// launchPause is the pause after the n-th failed launch in a row.
func launchPause(n int, cause error) time.Duration {
	pause := minLaunchPause << min(max(n-1, 0), 10)
	if errors.Is(cause, ErrAuth) || errors.Is(cause, ErrPermanent) {
		pause = max(pause, time.Minute) // asking again soon cannot help
	}
	return min(pause, maxLaunchPause)
}

// countFailure counts a failed launch. Launches that fail together count once, or ten that meet one short outage would
// mean the longest pause.
func countFailure(pool *store.Pool, cause error, now time.Time) {
	if !launchPaused(pool, now) {
		pool.LaunchFailures++
		pool.LaunchAfter = time.Time{}
	}
	if until := now.Add(launchPause(pool.LaunchFailures, cause)); until.After(pool.LaunchAfter) {
		pool.LaunchAfter = until
	}
}

// launchPaused reports whether the pause after a failed launch is not over. One that is longer than any pause was
// written by a clock that is wrong, and does not count.
func launchPaused(pool *store.Pool, now time.Time) bool {
	left := pool.LaunchAfter.Sub(now)
	return left > 0 && left <= maxLaunchPause
}

// maxDetours is how many launches in a row may go another way without a pause: a Cloud that has always another one
// must not be asked for ever.
const maxDetours = 200

// onward reports whether the next launch may follow at once after one that failed.
func (m *Manager) onward(cause error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !errors.Is(cause, ErrAnotherWay) {
		m.detours = 0
		return false
	}
	m.detours++
	return m.detours <= maxDetours
}

// startedNothing reports whether a launch that failed has certainly left no machine, if no other call was made with
// its ID.
func startedNothing(err error) bool {
	return errors.Is(err, ErrCapacity) || errors.Is(err, ErrQuota) || errors.Is(err, ErrAuth) || errors.Is(err, ErrPermanent)
}

// reissue is how long an accepted termination may take before it is asked for again.
const reissue = 30 * time.Second

// retryPause is the pause after the n-th failure in a row of what is done for one instance.
func retryPause(n int) time.Duration {
	return min(time.Second<<min(max(n-1, 0), 10), time.Minute)
}
