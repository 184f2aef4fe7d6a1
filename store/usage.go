package store

import (
	"context"
	"iter"
	"slices"
	"strings"
	"time"
)

// Usage is one row of the bill: the time of machines in one hour that belongs to one user of one repository, or to no session.
// Times are in microseconds.
type Usage struct {
	ID     string   // made by UsageID
	Repo   string   // the repository; "" = the time belongs to none
	User   string   // "" = the time belongs to no session
	Labels []string // "name=value" of the labels that are accounted and that the sessions have
	Type   string   // of the machines
	Spot   bool

	// Used is the sessions' share of machine time, Warm the time of what was kept ready, and Idle the rest. The three of all
	// rows add up to the time that is billed.
	Used, Warm, Idle int64
	Held             int64 // the time of the sessions, each in full

	Attached, WarmStarts, Cold int64 // starts by their kind
	Saved                      int64 // what starts took less than the last cold one of the same sharing key

	Cost     int64 // of Used, Warm and Idle, as far as prices are known, in 1e-9 of a US dollar
	Unpriced int64 // the part of Used, Warm and Idle without a known price
}

// UsageID returns the ID of a row: the hour, so that rows are ordered by time, and a hash of what else tells rows apart.
func UsageID(hour time.Time, hash string) string { return usageHour(hour) + "-" + hash }

func usageHour(t time.Time) string { return t.UTC().Format(usageLayout) }

const usageLayout = "2006010215"

// Hour returns the beginning of the row's hour; zero if the ID is not one of UsageID.
func (r *Usage) Hour() time.Time {
	t, err := time.Parse(usageLayout, r.ID[:min(len(r.ID), len(usageLayout))])
	if err != nil {
		return time.Time{}
	}
	return t
}

// Label returns the row's value of a label; "" = it has none.
func (r *Usage) Label(name string) string {
	for _, l := range r.Labels {
		if value, ok := strings.CutPrefix(l, name+"="); ok {
			return value
		}
	}
	return ""
}

// Ledger says how much of each machine's time is in Usage rows. It is one record. Its times are in microseconds since 1970, by
// the clock of the cloud where that says when something began or ended.
type Ledger struct {
	Seq    uint64 // counts its changes
	Meters []Meter
}

// Meter is one machine in the Ledger. Its time from Begun to Through is in rows, once.
type Meter struct {
	Machine string // the cloud's ID
	Launch  string // the launch ID
	Slots   int
	Begun   int64
	Through int64
	Ended   int64 // when its bill ended; 0 = it has not
}

// Over reports whether nothing of the machine is left to be accounted.
func (m Meter) Over() bool { return m.Ended != 0 && m.Through == m.Ended }

// Through returns the time until which all machines are accounted. ok is false if no machine is being accounted.
func (l *Ledger) Through() (through time.Time, ok bool) {
	if l == nil {
		return time.Time{}, false
	}
	var least int64
	for _, m := range l.Meters {
		if !m.Over() && (!ok || m.Through < least) {
			least, ok = m.Through, true
		}
	}
	return time.UnixMicro(least), ok
}

// UsageKey is the key of a row of the bill.
func UsageKey(id string) Key { return Key{KindUsage, id} }

// LedgerKey is the key of the ledger.
func LedgerKey() Key { return Key{Kind: KindLedger} }

// Key implements Record.
func (r *Usage) Key() Key { return UsageKey(r.ID) }

// Key implements Record.
func (*Ledger) Key() Key { return LedgerKey() }

// Clone implements Record.
func (r *Usage) Clone() Record {
	c := *r
	c.Labels = slices.Clone(r.Labels)
	return &c
}

// Clone implements Record.
func (l *Ledger) Clone() Record {
	c := *l
	c.Meters = slices.Clone(l.Meters)
	return &c
}

// UsageRows is Sessions for the rows of the bill.
func UsageRows(ctx context.Context, st Store, q UsageQuery) iter.Seq2[*Usage, error] {
	return paged(ctx, st, func(v View, page Page) ([]*Usage, error) {
		q.Page = page
		return v.Usage(q)
	})
}
