package sim

import "time"

// A replica that is paused, as a process or its whole machine may be, does nothing for a while, and then goes on where it
// was as if nothing had happened. Its calls to the store are made then, whatever has become of their contexts: fences must
// stop them. Its calls to the cloud and to the engines wait until it has learnt whether it still has its lease: neither
// of them has a fence, and one that was on its way when the pause began nobody could stop.

// putToSleep pauses a replica.
func (w *world) putToSleep(name string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asleep[name] = time.Now().Add(d)
}

// awakening is within which time a replica that was paused goes on with all that it was doing.
const awakening = 2 * time.Second

// allAwake waits until no replica is paused any more, and each has its lease again.
func (w *world) allAwake() {
	for {
		w.mu.Lock()
		var last time.Time
		for _, until := range w.asleep {
			if until.After(last) {
				last = until
			}
		}
		w.mu.Unlock()
		rest := time.Until(last.Add(30 * time.Second))
		if rest <= 0 {
			return
		}
		time.Sleep(rest)
	}
}

// pauseOf returns for how long a replica that is paused stays so.
func (w *world) pauseOf(name string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(time.Until(w.asleep[name]), 0)
}

// callsRest returns for how long a replica makes no calls to the cloud and the engines: until it has gone on with all
// that it was doing, and so has learnt whether it still has its lease.
func (w *world) callsRest(name string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	until := w.asleep[name]
	if until.IsZero() || time.Until(until) < -awakening {
		return 0
	}
	return time.Until(until) + awakening + time.Second
}
