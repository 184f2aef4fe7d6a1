package sim

import "time"

// A paused replica, like a paused process or machine, does nothing for a while, and then continues as if nothing had
// happened. It then makes its calls to the store, even if their contexts have ended, and fences must stop them. Its
// calls to the cloud and to the engines wait until the replica knows whether it still has its lease: the cloud and the
// engines have no fences, and a call that was under way when the pause began could not be stopped.

// putToSleep pauses a replica.
func (w *world) putToSleep(name string, d time.Duration) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.asleep[name] = time.Now().Add(d)
}

// awakening is the time within which a replica continues all its work after a pause.
const awakening = 2 * time.Second

// allAwake waits until no replica is paused and each has its lease again.
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

// pauseOf returns the rest of a replica's pause.
func (w *world) pauseOf(name string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	return max(time.Until(w.asleep[name]), 0)
}

// callsRest returns for how long a replica makes no calls to the cloud and the engines: until it has continued all its
// work after a pause, and so knows whether it still has its lease.
func (w *world) callsRest(name string) time.Duration {
	w.mu.Lock()
	defer w.mu.Unlock()
	until := w.asleep[name]
	if until.IsZero() || time.Until(until) < -awakening {
		return 0
	}
	return time.Until(until) + awakening + time.Second
}
