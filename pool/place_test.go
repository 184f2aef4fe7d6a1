package pool_test

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
	"pgregory.net/rapid"
)

// storeWith returns a store that holds some records.
func storeWith(t testing.TB, records ...store.Record) store.Store {
	t.Helper()
	st := memstore.New()
	err := st.Update(context.Background(), nil, func(tx store.Tx) error {
		for _, r := range records {
			if err := tx.Put(r); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return st
}

func readyInstance(id string, sessions int) *store.Instance {
	in := &store.Instance{ID: id, State: store.InstanceReady, Slots: slots}
	for range sessions {
		if _, err := in.UIDs.Take(); err != nil {
			panic(err)
		}
		in.Sessions++
	}
	return in
}

func place(st store.Store, id string) (uid int, err error) {
	err = st.Update(context.Background(), []store.Key{store.InstanceKey(id)}, func(tx store.Tx) (err error) {
		uid, err = pool.Place(tx, id)
		return err
	})
	return uid, err
}

func release(t testing.TB, st store.Store, id string, uid int, now time.Time) *store.Instance {
	t.Helper()
	var in *store.Instance
	err := st.Update(context.Background(), []store.Key{store.InstanceKey(id)}, func(tx store.Tx) (err error) {
		if err = pool.Release(tx, id, uid, now); err == nil {
			in, err = store.Find[*store.Instance](tx, store.InstanceKey(id))
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return in
}

func TestCandidates(t *testing.T) {
	state := func(id string, s store.InstanceState) *store.Instance {
		in := readyInstance(id, 9)
		in.State = s
		return in
	}
	drained := readyInstance("drained", 9)
	drained.Drain = true
	st := storeWith(t,
		readyInstance("empty", 0), readyInstance("half", 5), readyInstance("half2", 5), readyInstance("most", 9),
		readyInstance("full", 10), drained, state("launching", store.InstanceLaunching), state("booting", store.InstanceBooting),
		state("cordoned", store.InstanceCordoned), state("lost", store.InstanceLost), state("terminating", store.InstanceTerminating),
	)
	for _, c := range []struct {
		rule    string
		mirrors []string
		want    []string
	}{
		{"the fullest comes first", nil, []string{"most", "half", "half2", "empty"}},
		{"before it the one with the mirror", []string{"empty"}, []string{"empty", "most", "half", "half2"}},
		{"the mirror that was used last first", []string{"half", "empty"}, []string{"empty", "half", "most", "half2"}},
		{"a mirror on an instance that takes no session does not help",
			[]string{"full", "lost", "cordoned", "terminating", "booting", "drained", "gone"}, []string{"most", "half", "half2", "empty"}},
	} {
		t.Run(c.rule, func(t *testing.T) {
			var got []string
			err := st.View(t.Context(), func(v store.View) (err error) {
				var sharing *store.Sharing
				if c.mirrors != nil {
					sharing = &store.Sharing{Mirrors: c.mirrors}
				}
				got, err = pool.Candidates(v, sharing)
				return err
			})
			if err != nil || !slices.Equal(got, c.want) {
				t.Errorf("Candidates = %q, %v, want %q", got, err, c.want)
			}
		})
	}
}

func TestCandidatesAreFew(t *testing.T) {
	var records []store.Record
	var mirrors []string
	for i := range 100 {
		in := readyInstance(fmt.Sprintf("i%02d", i), i%slots)
		records = append(records, in)
		mirrors = append(mirrors, in.ID)
	}
	err := storeWith(t, records...).View(t.Context(), func(v store.View) error {
		got, err := pool.Candidates(v, &store.Sharing{Mirrors: mirrors})
		if len(got) > 16 || got[0] != "i99" {
			t.Errorf("Candidates = %q", got)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestPlaceIsRefused(t *testing.T) {
	for _, state := range []store.InstanceState{
		store.InstanceLaunching, store.InstanceBooting, store.InstanceCordoned, store.InstanceTerminating, store.InstanceLost,
	} {
		in := readyInstance("a", 0)
		in.State = state
		if uid, err := place(storeWith(t, in), "a"); !errors.Is(err, pool.ErrNoSlot) {
			t.Errorf("on an instance that is %s: %d, %v", state, uid, err)
		}
	}
	drained := readyInstance("a", 0)
	drained.Drain = true
	if _, err := place(storeWith(t, drained), "a"); !errors.Is(err, pool.ErrNoSlot) {
		t.Errorf("on one that is drained: %v", err)
	}
	if _, err := place(storeWith(t, readyInstance("a", slots)), "a"); !errors.Is(err, pool.ErrNoSlot) {
		t.Errorf("on one that is full: %v", err)
	}
	if _, err := place(storeWith(t), "a"); !errors.Is(err, pool.ErrNoSlot) {
		t.Errorf("on one that is gone: %v", err)
	}
	crowded := readyInstance("a", 0)
	crowded.Slots = 1e6
	for crowded.UIDs.Len() <= store.MaxUID-store.MinUID {
		if _, err := crowded.UIDs.Take(); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := place(storeWith(t, crowded), "a"); !errors.Is(err, pool.ErrNoSlot) || !errors.Is(err, store.ErrNoUID) {
		t.Errorf("on one without a free uid: %v", err)
	}
}

func TestReleaseGivesBackOnce(t *testing.T) {
	st := storeWith(t, readyInstance("a", 0))
	first, _ := place(st, "a")
	second, _ := place(st, "a")
	now := time.Now()
	for range 2 {
		if in := release(t, st, "a", first, now.Add(-time.Hour)); in.Sessions != 1 || in.UIDs.Has(first) || !in.IdleSince.IsZero() {
			t.Errorf("after the first: %+v", in)
		}
	}
	for range 2 {
		if in := release(t, st, "a", second, now); in.Sessions != 0 || in.UIDs.Len() != 0 || !in.IdleSince.Equal(now) {
			t.Errorf("after the second: %+v", in)
		}
	}
	if in := release(t, st, "a", 0, now.Add(time.Hour)); in.Sessions != 0 || !in.IdleSince.Equal(now) {
		t.Errorf("after a session without a uid: %+v", in)
	}
	if in := release(t, st, "gone", second, now); in != nil {
		t.Errorf("an instance that is gone: %+v", in)
	}
}

// TestConcurrentPlaces lets many creators race for few slots. Each slot and each uid is given once.
func TestConcurrentPlaces(t *testing.T) {
	st := storeWith(t, readyInstance("a", 0), readyInstance("b", 0))
	var (
		mu    sync.Mutex
		used  = map[string]bool{}
		taken = map[string]int{}
		all   sync.WaitGroup
	)
	for i := range 50 {
		all.Go(func() {
			id := []string{"a", "b"}[i%2]
			for range 100 {
				uid, err := place(st, id)
				if errors.Is(err, pool.ErrNoSlot) {
					continue
				}
				if err != nil {
					t.Error(err)
					return
				}
				key := fmt.Sprint(id, uid)
				mu.Lock()
				taken[id]++
				if used[key] || taken[id] > slots {
					t.Errorf("%s was given twice, or %d sessions are on %s", key, taken[id], id)
				}
				used[key] = true
				mu.Unlock()

				mu.Lock()
				delete(used, key)
				taken[id]--
				mu.Unlock()
				release(t, st, id, uid, time.Now())
			}
		})
	}
	all.Wait()
	for _, id := range []string{"a", "b"} {
		if in := release(t, st, id, 0, time.Now()); in.Sessions != 0 || in.UIDs.Len() != 0 {
			t.Errorf("%s is left with %d sessions and %d uids", id, in.Sessions, in.UIDs.Len())
		}
	}
}

// TestSlotsAndUIDsAgree places and releases at random, and compares the store with the uids that were given.
func TestSlotsAndUIDsAgree(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		st := storeWith(t, readyInstance("a", 0))
		held := map[int]bool{}
		rt.Repeat(map[string]func(*rapid.T){
			"place": func(rt *rapid.T) {
				uid, err := place(st, "a")
				if full := len(held) == slots; full != errors.Is(err, pool.ErrNoSlot) || held[uid] {
					rt.Fatalf("with %d sessions: %d, %v", len(held), uid, err)
				}
				if err == nil {
					held[uid] = true
				}
			},
			"release": func(rt *rapid.T) {
				uid := rapid.IntRange(store.MinUID, store.MinUID+2*slots).Draw(rt, "uid")
				if in := release(t, st, "a", uid, time.Now()); in.Sessions != in.UIDs.Len() {
					rt.Fatalf("%d sessions, %d uids", in.Sessions, in.UIDs.Len())
				}
				delete(held, uid)
			},
			"": func(rt *rapid.T) {
				if in := release(t, st, "a", 0, time.Now()); in.Sessions != len(held) {
					rt.Fatalf("%d sessions are stored, %d are held", in.Sessions, len(held))
				}
			},
		})
	})
}
