package storetest_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
	"github.com/berth-go/berth/store/storetest"
)

// TestSkew: a process sees the times that it wrote itself as they were, and those of others as its clock would have it.
func TestSkew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := memstore.New()
		offset := 2 * time.Hour
		s := storetest.Skew(m, func() time.Duration { return offset })
		written := &store.Session{ID: "s", State: store.SessionActive, LeaseUntil: time.Now()}
		err := s.Update(t.Context(), nil, func(tx store.Tx) error { return tx.Put(written) })
		if err != nil || !written.LeaseUntil.Equal(time.Now()) {
			t.Fatalf("%v; what was put is now %v", err, written.LeaseUntil)
		}
		check := func(through store.Store, want time.Time) {
			t.Helper()
			err := through.View(t.Context(), func(v store.View) error {
				r, err := store.Get[*store.Session](v, written.Key())
				if err != nil {
					return err
				}
				if !r.LeaseUntil.Equal(want) || !r.EndedAt.IsZero() {
					t.Errorf("got %v and %v, want %v and none", r.LeaseUntil, r.EndedAt, want)
				}
				for late := range time.Duration(2) {
					found, err := v.Sessions(store.SessionQuery{LeaseBefore: want.Add(late * time.Microsecond)})
					if err != nil || len(found) != int(late) {
						t.Errorf("%d found before %v, %v", len(found), want, err)
					}
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		}
		check(s, time.Now())
		check(m, time.Now().Add(2*time.Hour))
		offset = -time.Hour
		check(s, time.Now().Add(3*time.Hour))
	})
}
