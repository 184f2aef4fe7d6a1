package storetest

import (
	"errors"
	"maps"
	"slices"
	"testing"

	"pgregory.net/rapid"

	"github.com/berth-go/berth/store"
)

var modelCases = []testCase{
	{"random calls give what a map would give", func(t *testing.T, h *handle) {
		m := &machine{h: h}
		rapid.Check(t, m.run)
	}},
}

// model is the model of a store's behaviour.
type model map[store.Key]store.Record

// machine drives a store and a model with the same calls.
type machine struct {
	h     *handle
	model model
	views []*openView // those that run, each as old as its model
}

func (m *machine) run(t *rapid.T) {
	m.empty(t)
	defer func() {
		for len(m.views) > 0 {
			m.closeView(t, 0)
		}
	}()
	t.Repeat(map[string]func(*rapid.T){
		"update": m.update,
		"query":  func(t *rapid.T) { m.look(t, drawQuery(t)) },
		"get": func(t *rapid.T) {
			key := drawRecord(t).Key()
			m.look(t, func(v store.View, m model) error { return sameGet(v, m, key) })
		},
		"open a View": func(t *rapid.T) {
			if len(m.views) == 3 {
				t.Skip("enough of them")
			}
			m.views = append(m.views, open(m.h, maps.Clone(m.model)))
		},
		"end a View": func(t *rapid.T) {
			if len(m.views) == 0 {
				t.Skip("none runs")
			}
			m.closeView(t, rapid.IntRange(0, len(m.views)-1).Draw(t, "which"))
		},
	})
	for _, key := range m.keys() {
		m.look(t, func(v store.View, m model) error { return sameGet(v, m, key) })
	}
}

// empty removes the records of the last run. All runs use one store, because making a store may take long.
func (m *machine) empty(t *rapid.T) {
	keys := m.keys()
	err := m.h.Update(t.Context(), keys, func(tx store.Tx) error {
		for _, key := range keys {
			if err := tx.Delete(key); err != nil {
				return err
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("emptying the store: %v", err)
	}
	m.model = model{}
}

func (m *machine) keys() []store.Key {
	return slices.SortedFunc(maps.Keys(m.model), store.Key.Compare)
}

// step is one call of an Update's function.
type step struct {
	put store.Record // or nil
	key store.Key    // the record to get, and to delete if put is nil and remove is set
	del bool
}

// update runs some steps in one Update, which may fail. It draws everything before, because the function may run again.
func (m *machine) update(t *rapid.T) {
	var steps []step
	var hints []store.Key
	for range rapid.IntRange(1, 5).Draw(t, "steps") {
		r := drawRecord(t)
		s := step{key: r.Key()}
		switch rapid.IntRange(0, 4).Draw(t, "step") {
		case 0:
			s.del = true
		case 1:
		default:
			s.put = r
		}
		steps = append(steps, s)
		if rapid.Bool().Draw(t, "hinted") {
			hints = append(hints, s.key)
		}
	}
	var outcome error
	if rapid.IntRange(0, 3).Draw(t, "outcome") == 0 {
		outcome = errOfCaller
	}
	var after model
	err := m.h.Update(t.Context(), hints, func(tx store.Tx) error {
		after = maps.Clone(m.model)
		for _, s := range steps {
			if err := sameGet(tx, after, s.key); err != nil {
				return err
			}
			switch {
			case s.put != nil:
				if err := tx.Put(s.put); err != nil {
					return err
				}
				after[s.key] = s.put
			case s.del:
				if err := tx.Delete(s.key); err != nil {
					return err
				}
				delete(after, s.key)
			}
			if err := sameGet(tx, after, s.key); err != nil {
				return err
			}
		}
		return outcome
	})
	switch {
	case !errors.Is(err, outcome):
		t.Fatalf("Update: %v, want %v", err, outcome)
	case err == nil:
		m.model = after
	}
}

// look compares the store, and every running View, with their models.
func (m *machine) look(t *rapid.T, compare func(store.View, model) error) {
	if err := m.h.View(t.Context(), func(v store.View) error { return compare(v, m.model) }); err != nil {
		t.Fatal(err)
	}
	for i, o := range m.views {
		if err := o.look(compare); err != nil {
			t.Fatalf("View %d of %d that run: %v", i, len(m.views), err)
		}
	}
}

func sameGet(from store.Getter, m model, key store.Key) error {
	got, err := from.Get(key)
	if errors.Is(err, store.ErrNotFound) {
		got, err = nil, nil
	}
	if err != nil {
		return err
	}
	return same("Get "+key.String(), got, m[key])
}

// all returns the model's records of one type.
func all[R store.Record](m model) []R {
	var rs []R
	for _, r := range m {
		if r, ok := r.(R); ok {
			rs = append(rs, r)
		}
	}
	return rs
}

// openView is a View on a goroutine of its own. It runs the functions that it receives until it is closed.
type openView struct {
	model   model
	compare chan func(store.View, model) error
	result  chan error // the error of each compare, and of the View when compare is closed
}

func open(h *handle, m model) *openView {
	o := &openView{model: m, compare: make(chan func(store.View, model) error), result: make(chan error)}
	begun := make(chan struct{})
	go func() {
		o.result <- h.View(h.ctx, func(v store.View) error {
			close(begun)
			for compare := range o.compare {
				o.result <- compare(v, o.model)
			}
			return nil
		})
	}()
	select {
	case <-begun:
	case err := <-o.result:
		h.t.Fatalf("View: %v", err)
	}
	return o
}

func (o *openView) look(compare func(store.View, model) error) error {
	o.compare <- compare
	return <-o.result
}

// close ends the View.
func (o *openView) close() error {
	close(o.compare)
	return <-o.result
}

func (m *machine) closeView(t *rapid.T, i int) {
	o := m.views[i]
	m.views = slices.Delete(m.views, i, i+1)
	if err := o.close(); err != nil {
		t.Errorf("View, at its end: %v", err)
	}
}
