package memstore

import (
	"cmp"
	"slices"
	"strings"

	"github.com/berth-go/berth/store"
)

// search finds one page of records of one kind, by walking through some spans of the index.
type search[R store.Record] struct {
	kind    store.Kind
	page    store.Page
	matches func(R) bool

	spans []span
	place int // where entriesOf has the entry that gives the order; -1: the order is that of the IDs
	found []hit[R]
}

// span is a part of the index: from an entry to the end of its value, or to a number.
type span struct {
	from entry
	end  uint64 // 0 = the end of the value
}

// hit is a record that was found. It is still the store's own.
type hit[R store.Record] struct {
	num    uint64 // the first key of the order; the ID is the second
	id     string
	record R
}

// ordered searches an index that gives an order, up to but not including the number end.
func (s *search[R]) ordered(place int, in index, end uint64) {
	s.place, s.page.After = place, ""
	s.spans = []span{{entry{index: in}, end}}
}

// value searches the entries of one value in those groups. Each group may fill the page; they are put together by ID.
func (s *search[R]) value(of entry, groups []index) {
	s.place = -1
	of.head = headOf(s.page.After)
	for _, group := range groups {
		from := of
		from.index += group
		s.spans = append(s.spans, span{from: from})
	}
}

// holds reports whether e is in the span.
func (p *span) holds(e *entry) bool {
	if e.index != p.from.index {
		return false
	}
	if p.end > 0 {
		return e.num < p.end
	}
	return e.num == p.from.num
}

// run returns the page as v sees it. The store is locked while it searches, not while it copies.
func (s *search[R]) run(v *view) ([]R, error) {
	v.mu.Lock()
	if v.data == nil {
		v.mu.Unlock()
		return nil, errOver
	}
	v.data.settle()
	v.data.rows[searched].key.ID = s.page.After
	for _, p := range s.spans {
		s.walk(v, p)
	}
	sorted := len(s.spans) == 1
	if changed := v.data.replaced[v.data.since(v.seq):]; len(changed) > 0 {
		s.correct(v, changed)
		sorted = false
	}
	v.mu.Unlock()

	if !sorted {
		slices.SortFunc(s.found, func(a, b hit[R]) int {
			return cmp.Or(cmp.Compare(a.num, b.num), strings.Compare(a.id, b.id))
		})
		s.found = slices.CompactFunc(s.found, func(a, b hit[R]) bool { return a.id == b.id })
	}
	page := make([]R, min(len(s.found), s.page.Size()))
	for i := range page {
		page[i] = s.found[i].record.Clone().(R)
	}
	return page, nil
}

// walk adds the records that v sees in a span of the index, up to a page. It leaves out records that have changed since.
func (s *search[R]) walk(v *view, p span) {
	full := len(s.found) + s.page.Size()
	v.data.index.Ascend(p.from, func(e entry) bool {
		if !p.holds(&e) {
			return false
		}
		newest := v.data.rows[e.row]
		if newest.seq <= v.seq && (newest.key.ID != s.page.After || s.place >= 0) {
			s.add(newest.record)
		}
		return len(s.found) < full
	})
}

// correct adds those that have changed since v began: the index shows where they are now, not where they were.
func (s *search[R]) correct(v *view, changed []write) {
	for _, w := range changed {
		if w.row.key.Kind != s.kind || (w.row.key.ID <= s.page.After && s.page.After != "") {
			continue
		}
		if r := w.row.at(v.seq); r != nil {
			if s.place < 0 || entriesOf(r)[s.place].index != none {
				s.add(r)
			}
		}
	}
}

// add takes a record if it matches.
func (s *search[R]) add(record store.Record) {
	r := record.(R)
	if !s.matches(r) {
		return
	}
	h := hit[R]{id: r.Key().ID, record: r}
	if s.place >= 0 {
		h.num = entriesOf(r)[s.place].num
	}
	s.found = append(s.found, h)
}

// oneOf reports whether a query for those states selects state.
func oneOf[S comparable](states []S, state S) bool {
	return len(states) == 0 || slices.Contains(states, state)
}
