package usage

import (
	"cmp"
	"maps"
	"slices"
	"time"

	"github.com/berth-go/berth/store"
)

// span is a part of a machine's time that is to be accounted. It lies within one hour.
type span struct {
	meter    int // in the Ledger
	from, to int64
	machine  listing // without a listing: only its cloud ID is known
}

// hour is in microseconds, as all times of the Ledger.
const hour = int64(time.Hour / time.Microsecond)

// refresh brings a Ledger up to date with what was seen since first, and returns the spans that are to be accounted until
// now, the oldest first. It reports whether the Ledger has changed. settled says that the pool is destroyed: nothing changes any more.
func refresh(l *store.Ledger, seen map[string]listing, first, now time.Time, settled bool) (due []span, changed bool) {
	known := make(map[string]bool)
	longEnough := !first.IsZero() && (settled || now.Sub(first) > missingGrace)
	for i := range l.Meters {
		m := &l.Meters[i]
		known[m.Machine] = true
		was := *m
		is, ok := seen[m.Machine]
		if ok {
			read(m, is)
		}
		switch {
		case m.Ended != 0:
		case ok && !is.missing.IsZero() && (settled || now.Sub(is.missing) > missingGrace):
			m.Ended = max(m.Through, is.at.Add(-margin).UnixMicro()) // a list that lags behind proves no more
		case !ok && longEnough: // it left the lists while no process accounted
			m.Ended = m.Through
		}
		changed = changed || *m != was
	}
	for _, id := range slices.Sorted(maps.Keys(seen)) {
		if is := seen[id]; !known[id] && is.missing.IsZero() {
			m := store.Meter{Machine: id, Launch: is.LaunchID, Begun: begun(is)}
			m.Through = m.Begun
			read(&m, is)
			l.Meters, changed = append(l.Meters, m), true
		}
	}
	kept := len(l.Meters)
	l.Meters = slices.DeleteFunc(l.Meters, func(m store.Meter) bool {
		is, ok := seen[m.Machine]
		return m.Over() && (!ok || !is.missing.IsZero()) && now.Sub(time.UnixMicro(m.Ended)) > remembered
	})
	return dueOf(l, seen, now, settled), changed || len(l.Meters) < kept
}

// begun returns when the bill of a machine began. A cloud that does not say so has begun when a list shows the machine.
func begun(is listing) int64 {
	if is.Launched.IsZero() {
		return is.at.UnixMicro()
	}
	return is.Launched.UnixMicro()
}

// read takes over what a list says of a machine's end. A machine that had ended and runs again has begun anew: somebody has
// started it, or a list was wrong.
func read(m *store.Meter, is listing) {
	switch {
	case !is.Ended.IsZero():
		m.Ended = max(is.Ended.UnixMicro(), m.Begun)
	case !is.ended.IsZero():
		if m.Ended == 0 {
			m.Ended = max(is.ended.UnixMicro(), m.Begun)
		}
	case m.Ended != 0 && is.missing.IsZero():
		if again := is.Launched.UnixMicro(); m.Over() && again > m.Ended {
			m.Begun += again - m.Ended // the time between is no part of the bill
			m.Through = again
		}
		m.Ended = 0
	}
}

// dueOf returns the spans that are to be accounted, the oldest first.
func dueOf(l *store.Ledger, seen map[string]listing, now time.Time, settled bool) (due []span) {
	until := now.Add(-margin).UnixMicro()
	for i, m := range l.Meters {
		is, ok := seen[m.Machine]
		to := until
		switch {
		case m.Ended != 0 && settled:
			to = min(now.UnixMicro(), m.Ended)
		case m.Ended != 0:
			to = min(to, m.Ended)
		case ok:
			to = min(to, is.at.Add(-margin).UnixMicro())
		default:
			continue // no list of this process has shown it
		}
		if m.Ended != 0 && m.Through > m.Ended { // too much was accounted: a list was wrong, or a clock
			to = m.Ended
		} else if to = min(to, m.Through-m.Through%hour+hour); to <= m.Through {
			continue
		}
		is.CloudID = m.Machine
		due = append(due, span{meter: i, from: m.Through, to: to, machine: is})
	}
	slices.SortStableFunc(due, func(a, b span) int { return cmp.Compare(a.from, b.from) })
	return due[:min(len(due), mostMachines)]
}
