package pool

import (
	"errors"
	"fmt"
	"time"

	"github.com/berth-go/berth/store"
)

// observation is what a Manager has itself observed, since its Run began, of one instance or of a machine that no record
// knows, and what it is doing about it. The store does not hold it: a Manager that takes over observes for itself, and
// measures by its own monotonic clock.
type observation struct {
	known   time.Time // when it was first observed
	state   store.InstanceState
	since   time.Time // when it was first observed in that state
	listed  bool      // the cloud has listed it
	missing time.Time // when the cloud was first found not to list it, since it last did; zero = it does

	probed    string // the address that healthy and strikes are about
	healthy   bool   // the last probe succeeded
	failure   string // why the last probe failed
	strikes   int    // probes that failed in a row
	probing   bool   // a probe is under way
	nextProbe time.Time
	notice    Outlook   // what its host foretold when it answered last
	noticed   string    // the reason, in the host's words
	impaired  time.Time // since when its outlook is OutlookImpaired; zero = it is another

	foreign   bool   // it carries another store's UID
	doubted   bool   // its launch was given up: see store.Doubt
	launchErr string // the last error of its launch, while that has no outcome

	needed time.Time // when it last had no session and was needed all the same
	idle   time.Time // since when it has had no session, by this process's monotonic clock
	marked time.Time // the stored IdleSince that idle stands for

	busy  bool      // an action on it is under way
	after time.Time // no action on it begins before then
	asked time.Time // the cloud has agreed to end it, and is not asked again before then
	tries int       // actions on it that failed in a row
	alone bool      // to end it failed in a call for several machines: it is ended in a call of its own
}

// waits reports whether no action may begin now.
func (obs observation) waits(now time.Time) bool { return obs.busy || obs.after.After(now) }

// probeEnded records the outcome of a probe.
func (obs *observation) probeEnded(address string, err error, booting bool) {
	if obs.probed != address {
		obs.probed, obs.strikes = address, 0
	}
	outlook, foretold := errors.AsType[*OutlookError](err)
	obs.healthy = err == nil || foretold
	obs.failure = ""
	if !obs.healthy {
		obs.failure = err.Error()
	}
	switch {
	case obs.healthy:
		obs.strikes, obs.notice, obs.noticed = 0, OutlookGood, ""
		if foretold {
			obs.notice, obs.noticed = outlook.Outlook, outlook.Reason
		}
	case !booting: // an instance that boots need not answer yet
		obs.strikes++
	}
}

// actionEnded records that an action on id has ended. After a failure the next one waits.
func (obs *observation) actionEnded(err error, now time.Time, id string) {
	obs.busy = false
	if err == nil {
		obs.tries, obs.after = 0, time.Time{}
		return
	}
	obs.tries++
	pause := retryPause(obs.tries)
	if errors.Is(err, ErrThrottled) {
		pause = jitter(pause, fmt.Sprint(id, obs.tries))
	}
	obs.after = now.Add(pause)
}

// idleSince returns since when an instance has had no session. The stored time is from the wall clock of another process,
// or from this one's before it was set. So it counts at the first observation only; afterwards its changes count.
func (obs *observation) idleSince(stored, now time.Time) time.Time {
	switch {
	case obs.idle.IsZero():
		obs.idle = now.Add(-max(now.Sub(stored), 0))
	case !obs.marked.Equal(stored):
		obs.idle = now
	}
	obs.marked = stored
	return obs.idle
}

// observationOf returns the observation of an instance, a new one if there is none. The caller holds mu.
func (m *Manager) observationOf(id string, now time.Time) *observation {
	obs := m.observations[id]
	if obs == nil {
		obs = &observation{known: now}
		m.observations[id] = obs
	}
	return obs
}

// observationFor returns the observation of the machine or instance that an action is about; nil if it is gone. The
// caller holds mu.
func (m *Manager) observationFor(a action) *observation {
	if a.verb == doEndUnknown {
		return m.unknown[a.cloudID]
	}
	return m.observations[a.instance]
}
