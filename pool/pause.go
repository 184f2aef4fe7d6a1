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

// countFailure counts a failed launch. Launches that fail together count once: otherwise ten that meet one short outage
// would cause the longest pause.
func countFailure(pool *store.Pool, cause error, now time.Time) {
	if !launchPaused(pool, now) {
		pool.LaunchFailures++
		pool.LaunchAfter = time.Time{}
	}
	if until := now.Add(launchPause(pool.LaunchFailures, cause)); until.After(pool.LaunchAfter) {
		pool.LaunchAfter = until
	}
}

// launchPaused reports whether the pause after a failed launch is not over. A pause longer than the longest was stored by
// a clock that is wrong, and does not count.
func launchPaused(pool *store.Pool, now time.Time) bool {
	left := pool.LaunchAfter.Sub(now)
	return left > 0 && left <= maxLaunchPause
}

// maxDetours is how many launches in a row may go another way without a pause. It stops a Cloud that always names
// another way.
const maxDetours = 200

// nextGoesOn reports whether the next launch may follow at once after one that failed.
func (m *Manager) nextGoesOn(cause error) bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !errors.Is(cause, ErrAnotherWay) {
		m.detours = 0
		return false
	}
	m.detours++
	return m.detours <= maxDetours
}

// startedNothing reports whether a failed call of Launch has certainly started no machine, if it is the only call with its
// ID.
func startedNothing(err error) bool {
	return errors.Is(err, ErrCapacity) || errors.Is(err, ErrQuota) || errors.Is(err, ErrAuth) || errors.Is(err, ErrPermanent)
}

// reissue is how long an accepted termination may take before the cloud is asked again.
const reissue = 30 * time.Second

// retryPause is the pause after the n-th failure in a row of the actions on one instance.
func retryPause(n int) time.Duration {
	return min(time.Second<<min(max(n-1, 0), 10), time.Minute)
}
