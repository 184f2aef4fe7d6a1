package sim

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/fake"
	"github.com/berth-go/berth/store"
)

// billing compares the bill with what the cloud bills. The rules' checking guards it.
type billing struct {
	seq    uint64                 // of the Ledger that was checked last
	meters map[string]store.Meter // of every machine that was ever in the Ledger, as it was there last
}

// look checks the bill after each step of the accounts.
func (b *billing) look(w *world) (faults []string) {
	var ledger *store.Ledger
	var rows []*store.Usage
	var known *store.Demand
	err := w.store.View(context.Background(), func(v store.View) (err error) {
		if ledger, err = store.Find[*store.Ledger](v, store.LedgerKey()); err != nil || ledger == nil || ledger.Seq == b.seq {
			return err
		}
		for r, err := range store.All(func(page store.Page) ([]*store.Usage, error) { return v.Usage(store.UsageQuery{Page: page}) }) {
			if err != nil {
				return err
			}
			rows = append(rows, r)
		}
		known, err = store.Find[*store.Demand](v, store.DemandKey())
		return err
	})
	if err != nil {
		return []string{err.Error()}
	}
	if ledger == nil || ledger.Seq == b.seq {
		return nil
	}
	add := func(format string, args ...any) { faults = append(faults, fmt.Sprintf("the bill: "+format, args...)) }
	b.seq = ledger.Seq
	real := make(map[string]fake.Machine)
	for _, m := range w.cloud.Machines() {
		real[m.CloudID] = m
	}
	for _, m := range ledger.Meters {
		was, known := b.meters[m.Machine]
		is, there := real[m.Machine]
		end := is.Ended
		if end.IsZero() {
			end = time.Now()
		}
		switch {
		case !there || is.Foreign:
			add("machine %s is not the pool's", m.Machine)
		case m.Begun != is.Launched.UnixMicro() || m.Through > end.UnixMicro():
			add("machine %s was billed from %v to %v, and is accounted from %v to %v", m.Machine, is.Launched, end,
				time.UnixMicro(m.Begun), time.UnixMicro(m.Through))
		case known && m.Through < was.Through:
			add("machine %s was accounted until %v, and now until %v", m.Machine, time.UnixMicro(was.Through), time.UnixMicro(m.Through))
		}
		b.meters[m.Machine] = m
	}
	var billed, accounted int64
	for _, m := range b.meters {
		billed += m.Through - m.Begun
	}
	for _, r := range rows {
		accounted += r.Used + r.Warm + r.Idle
	}
	for _, fault := range b.rows(w, rows, known) {
		add("%s", fault)
	}
	if billed != accounted {
		add("%d µs are accounted of %d", accounted, billed)
	}
	return faults
}

// rows checks the rows of the bill by themselves, and what the pool has learned beside them.
func (b *billing) rows(w *world, rows []*store.Usage, known *store.Demand) (faults []string) {
	for _, r := range rows {
		if r.Used < 0 || r.Warm < 0 || r.Idle < 0 || r.Held < r.Used || unowned(r) {
			faults = append(faults, fmt.Sprintf("row %+v", r))
		}
		if r.Used > 0 {
			w.trace.saw("time accounted to a session")
		}
		if r.Warm > 0 {
			w.trace.saw("time accounted to an empty container")
		}
	}
	if w.plan.config.Warm.Containers > 0 && !w.plan.armed[clocks] {
		faults = append(faults, learned(rows, known)...)
	}
	return faults
}

// unowned reports whether a row has time of an owner that it does not name, or names one without time. By clocks that differ, a
// session may end a microsecond after its start. Its share of the machine is then less than what is counted.
func unowned(r *store.Usage) bool {
	const counted = 1000 // microseconds
	switch {
	case r.Repo == "":
		return r.User != "" || r.Used+r.Warm != 0
	case r.User == "":
		return r.Used != 0 || r.Warm == 0
	}
	return r.Warm != 0 || r.Used == 0 && r.Held >= counted || r.Held == 0
}

// learned checks that the pool has learned of each start that is on the bill, and of no other. A run is so short that all of them count
// about the same.
func learned(rows []*store.Usage, known *store.Demand) (faults []string) {
	starts, counted := make(map[string]int64), make(map[string]int64)
	for _, r := range rows {
		if n := r.Attached + r.WarmStarts + r.Cold; n > 0 {
			starts[r.Repo] += n
		}
	}
	if known != nil {
		for _, k := range known.Keys {
			for _, n := range k.Hours {
				counted[k.SharingKey.Repository.String()] += n
			}
		}
	}
	for repo, n := range starts {
		if got := counted[repo]; got < 950*n || got > 1050*n {
			faults = append(faults, fmt.Sprintf("%d starts on %s count %d/1000 in %+v", n, repo, got, known))
		}
		delete(counted, repo)
	}
	if len(counted) > 0 {
		faults = append(faults, fmt.Sprintf("the pool has learned of %v, which nobody has used", counted))
	}
	slices.Sort(faults)
	return faults
}

// missing lists the machines whose bill is not complete. Of a machine that has vanished from the lists, the cloud does not say
// when it ended.
func (b *billing) missing(w *world) (left []string) {
	for _, is := range w.cloud.Machines() {
		m, known := b.meters[is.CloudID]
		until := time.UnixMicro(m.Through)
		switch {
		case is.Foreign, is.Reason == "vanished":
		case !known:
			left = append(left, fmt.Sprintf("machine %s is not accounted", is.CloudID))
		case is.Ended.IsZero() && time.Since(until) > 5*time.Minute, !is.Ended.IsZero() && m.Through != is.Ended.UnixMicro():
			left = append(left, fmt.Sprintf("machine %s, which ended at %v, is accounted until %v", is.CloudID, is.Ended, until))
		}
	}
	return left
}
