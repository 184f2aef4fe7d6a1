package storetest

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"testing"

	"github.com/berth-go/berth/store"
)

var viewCases = []testCase{
	{"a View does not see commits that happen while it runs", viewIsASnapshot},
	{"Views that begin one after another each see their own commit, in any order of their ends", viewsOfManyAges},
	{"a View sees a commit whole or not at all", viewIsConsistent},
}

// viewIsASnapshot changes everything while a View runs, twice, and looks again with every kind of call. It makes the
// Updates in this goroutine: if a View held a lock that they need, the test would hang here.
func viewIsASnapshot(t *testing.T, h *handle) {
	kept, gone, fresh := filled(&store.Session{}, 1), filled(&store.Session{}, 2), filled(&store.Session{}, 3)
	kept.Queued, gone.Queued = true, true
	h.put(kept, gone)
	look := func(v store.View) {
		t.Helper()
		keys := []store.Key{kept.Key(), gone.Key(), fresh.Key()}
		for i, want := range []store.Record{kept, gone, nil} {
			got, err := v.Get(keys[i])
			if err != nil && !errors.Is(err, store.ErrNotFound) {
				t.Fatalf("Get: %v", err)
			}
			requireSame(t, "Get in an older View", got, want)
		}
		seen := []*store.Session{kept, gone}
		for _, q := range append(sessionQueries(seen), sessionQueries([]*store.Session{fresh})...) {
			if err := sameSessions(v, seen, q); err != nil {
				t.Fatalf("in an older View: %v", err)
			}
		}
	}
	h.view(func(v store.View) error {
		look(v)
		for i := range 3 {
			changed := filled(&store.Session{}, 50+i)
			changed.ID, changed.State = kept.ID, sessionStates[i]
			h.put(changed, fresh)
			h.delete(gone.Key())
			look(v)
			h.view(func(newer store.View) error {
				_, err := getSame(newer, "Get in a newer View", changed)
				return err
			})
			if i == 1 {
				h.put(gone)
				h.delete(fresh.Key())
				look(v)
			}
		}
		h.delete(kept.Key(), fresh.Key())
		look(v)
		return nil
	})
	h.agrees()
}

// viewsOfManyAges removes sessions and puts them back, changed, again and again, and keeps some Views of every age.
func viewsOfManyAges(t *testing.T, h *handle) {
	const most = 5 // Views at the same time
	sessions := crowd(24)
	now := model{}
	commit := func(i int) {
		s := sessions[i%len(sessions)].Clone().(*store.Session)
		s.CreatedAt, s.LeaseUntil, s.EndedAt = minute(i*31%50), minute(i*37%50), minute(i*41%50)
		if now[s.Key()] != nil && i%3 == 0 {
			h.delete(s.Key())
			delete(now, s.Key())
			return
		}
		h.put(s)
		now[s.Key()] = s
	}
	look := func(v store.View, m model) error {
		seen := all[*store.Session](m)
		for _, key := range keysOf(sessions) {
			if err := sameGet(v, m, key); err != nil {
				return err
			}
		}
		for _, q := range []store.SessionQuery{
			{}, {Queued: true}, {LeaseBefore: minute(40)}, {EndedBefore: minute(40)}, {UserID: "ada"}, {Page: store.Page{After: "s-5", Limit: 5}},
			{States: sessionStates[1:3]}, {Queued: true, Page: store.Page{Limit: 4}},
		} {
			if err := sameSessions(v, seen, q); err != nil {
				return err
			}
		}
		return nil
	}
	var views []*openView
	defer func() {
		for _, o := range views {
			_ = o.close()
		}
	}()
	for i := range 120 {
		// There are few sessions at first, so that each changes often while the same Views run.
		commit(i % (2 + i/10))
		if i%2 == 0 {
			if len(views) == most {
				which := i / 2 * 3 % most // old ones, new ones, and between
				if err := views[which].close(); err != nil {
					t.Fatal(err)
				}
				views = slices.Delete(views, which, which+1)
			}
			views = append(views, open(h, maps.Clone(now)))
		}
		for age, o := range views {
			if err := o.look(look); err != nil {
				t.Fatalf("after commit %d, View %d of %d: %v", i, age, len(views), err)
			}
		}
	}
}

// viewIsConsistent moves sessions between instances while Views add them up, by key and by query.
func viewIsConsistent(t *testing.T, h *handle) {
	const accounts, start, views, transfers = 4, 50, 100, 200
	key := func(i int) store.Key { return store.InstanceKey(fmt.Sprint("account-", i%accounts)) }
	for i := range accounts {
		h.update(func(tx store.Tx) error { return add(tx, key(i), start) }, key(i))
	}
	ctx, cancel := context.WithCancel(h.ctx)
	defer cancel()
	together(3, func(w int) {
		if w > 0 {
			for i := 0; i < transfers && ctx.Err() == nil; i++ {
				from, to := key(i), key(i+w)
				err := h.Update(h.ctx, []store.Key{from, to}, func(tx store.Tx) error {
					return errors.Join(add(tx, from, -1), add(tx, to, +1))
				})
				if err != nil {
					t.Errorf("Update: %v", err)
				}
			}
			return
		}
		defer cancel()
		for range views {
			err := h.View(h.ctx, func(v store.View) error {
				byKey, byQuery := 0, 0
				for i := range accounts {
					r, err := v.Get(key(i))
					if err != nil {
						return err
					}
					byKey += count(r)
				}
				all, err := v.Instances(store.InstanceQuery{})
				for _, r := range all {
					byQuery += r.Sessions
				}
				if err == nil && (byKey != accounts*start || byQuery != accounts*start) {
					err = fmt.Errorf("the sum is %d by key and %d by query, want %d", byKey, byQuery, accounts*start)
				}
				return err
			})
			if err != nil {
				t.Errorf("View: %v", err)
				return
			}
		}
	})
}
