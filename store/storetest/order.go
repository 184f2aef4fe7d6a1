package storetest

import (
	"fmt"
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

var orderCases = []testCase{
	{"Placeable gives the ready instances with a free slot, the fullest first, then by ID", placeableOrder},
	{"LeaseBefore gives the active sessions whose lease is over, the earliest first", leaseOrder},
	{"EndedBefore gives the sessions that ended before, the earliest first", endedOrder},
	{"a query with an order of its own does not look at After", orderIgnoresAfter},
	{"a query with an order of its own gives the first page of a long list", orderIsCut},
}

func placeableOrder(t *testing.T, h *handle) {
	var all []*store.Instance
	for i := range 60 {
		all = append(all, &store.Instance{
			ID:    fmt.Sprintf("i-%02d", i*37%60),
			State: instanceStates[i%len(instanceStates)],
			Slots: 4 + i%3, Sessions: i * 5 % 8, // some full, some over-full
		})
	}
	for i := range 20 {
		all = append(all, &store.Instance{ID: fmt.Sprintf("r-%02d", i*7%20), State: store.InstanceReady, Slots: 12, Sessions: i % 13})
	}
	h.put(records(all)...)
	check := func() {
		t.Helper()
		h.view(func(v store.View) error {
			for _, q := range []store.InstanceQuery{
				{Placeable: true}, {Placeable: true, Page: store.Page{Limit: 3}},
				{Placeable: true, States: []store.InstanceState{store.InstanceReady}},
				{Placeable: true, States: []store.InstanceState{store.InstanceLost}},
			} {
				got, err := v.Instances(q)
				if err := sameResult(q, err, got, expectInstances(all, q)); err != nil {
					return err
				}
			}
			return nil
		})
	}
	check()
	for i, r := range all {
		switch i % 4 {
		case 0:
			r.Sessions++
		case 1:
			r.Sessions--
		case 2:
			r.State = store.InstanceReady
		case 3:
			r.State = store.InstanceCordoned
		}
		if i%20 == 0 {
			h.put(records(all)...)
			check()
		}
	}
}

// ordered puts sessions of which many have equal times, and asks.
func ordered(t *testing.T, h *handle, queries ...store.SessionQuery) {
	t.Helper()
	var all []*store.Session
	for i := range 200 {
		at := minute(i * 31 % 40).Add(time.Duration(i%3) * time.Microsecond)
		s := &store.Session{
			ID: fmt.Sprintf("s-%03d", i*71%200), UserID: fmt.Sprint(i % 3), State: sessionStates[i*7%4],
			LeaseUntil: at, EndedAt: at,
		}
		if i%11 == 0 {
			s.LeaseUntil, s.EndedAt = time.Time{}, time.Time{}
		}
		all = append(all, s)
	}
	h.put(records(all)...)
	h.view(func(v store.View) error {
		for _, q := range queries {
			for _, q.Limit = range []int{0, 1, 7} {
				if err := sameSessions(v, all, q); err != nil {
					return err
				}
			}
		}
		return nil
	})
}

func leaseOrder(t *testing.T, h *handle) {
	ordered(t, h,
		store.SessionQuery{LeaseBefore: epoch},
		store.SessionQuery{LeaseBefore: minute(20)},
		store.SessionQuery{LeaseBefore: minute(20).Add(time.Microsecond)},
		store.SessionQuery{LeaseBefore: minute(20).In(time.FixedZone("somewhere", 3600))},
		store.SessionQuery{LeaseBefore: minute(1000)},
		store.SessionQuery{LeaseBefore: minute(1000), States: []store.SessionState{store.SessionCreating}},
	)
}

func endedOrder(t *testing.T, h *handle) {
	ordered(t, h,
		store.SessionQuery{EndedBefore: epoch},
		store.SessionQuery{EndedBefore: minute(20)},
		store.SessionQuery{EndedBefore: minute(20).Add(time.Microsecond)},
		store.SessionQuery{EndedBefore: minute(1000), UserID: "2"},
		store.SessionQuery{EndedBefore: minute(1000), LeaseBefore: minute(1000)},
	)
}

func orderIgnoresAfter(t *testing.T, h *handle) {
	after := store.Page{After: "s-150"}
	ordered(t, h,
		store.SessionQuery{LeaseBefore: minute(1000), Page: after},
		store.SessionQuery{EndedBefore: minute(1000), Page: after},
	)
	h.put(&store.Instance{ID: "a", State: store.InstanceReady, Slots: 1})
	h.view(func(v store.View) error {
		got, err := v.Instances(store.InstanceQuery{Placeable: true, Page: store.Page{After: "b"}})
		if err == nil && len(got) != 1 {
			t.Errorf("Placeable with After gave %d instances, want 1", len(got))
		}
		return err
	})
}

func orderIsCut(t *testing.T, h *handle) {
	var all []*store.Session
	for i := range store.MaxLimit + 50 {
		all = append(all, &store.Session{
			ID: fmt.Sprintf("s-%04d", i*7919%10000), State: store.SessionActive, LeaseUntil: minute(i * 37 % 500),
		})
	}
	h.put(records(all)...)
	h.view(func(v store.View) error {
		q := store.SessionQuery{LeaseBefore: minute(2000)}
		for _, q.Limit = range []int{0, store.MaxLimit} {
			if err := sameSessions(v, all, q); err != nil {
				return err
			}
		}
		return nil
	})
}
