package memstore

import (
	"fmt"
	"math/rand/v2"
	"testing"

	"github.com/berth-go/berth/store"
)

// TestNothingIsKeptForViewsThatHaveEnded writes while Views begin and end in any order, and then looks for what only
// they could have seen.
func TestNothingIsKeptForViewsThatHaveEnded(t *testing.T) {
	d := newData()
	var views []uint64
	for i := range 20_000 {
		tx := d.begin()
		for range rand.IntN(4) {
			key := store.SessionKey(fmt.Sprint(rand.IntN(30)))
			if rand.IntN(2) == 0 {
				_ = tx.Put(&store.Session{ID: key.ID, Queued: true, UserID: fmt.Sprint(rand.IntN(5))})
			} else {
				_ = tx.Delete(key)
			}
		}
		if rand.IntN(4) > 0 {
			tx.commit()
		}
		tx.end()
		if rand.IntN(3) == 0 {
			views = append(views, d.open())
		}
		for len(views) > 0 && (len(views) > 5 || i%1000 == 999) {
			n := rand.IntN(len(views))
			d.release(views[n])
			views = append(views[:n], views[n+1:]...)
		}
		if most := 30 * 7; len(d.replaced) > most {
			t.Fatalf("%d writes are remembered for %d Views of 30 records", len(d.replaced), len(views))
		}
		if len(views) == 0 {
			requireClean(t, d)
		}
	}
}

func requireClean(t *testing.T, d *data) {
	t.Helper()
	d.settle()
	entries, rows := 0, 0
	for id, v := range d.records[store.KindSession] {
		rows++
		if v.record == nil || v.older != nil {
			t.Fatalf("session %s: record %v, older %v, and no View runs", id, v.record, v.older)
		}
		for _, e := range entriesOf(v.record) {
			if e.index != none {
				entries++
			}
		}
	}
	if len(d.replaced) > 0 || len(d.views) > 0 || d.index.Len() != entries || len(d.rows)-len(d.free) != rows+1 {
		t.Fatalf("no View runs, and there are %d writes, %d views, %d entries for %d, and %d rows for %d",
			len(d.replaced), len(d.views), d.index.Len(), entries, len(d.rows)-len(d.free)-1, rows)
	}
}
