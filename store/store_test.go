package store

import (
	"errors"
	"slices"
	"strings"
	"testing"
)

// fixed is a Getter of a few records, and of one error for everything else.
type fixed struct {
	records map[Key]Record
	other   error
}

func (f fixed) Get(key Key) (Record, error) {
	if r, ok := f.records[key]; ok {
		return r, nil
	}
	return nil, f.other
}

func TestGetReturnsTheRecordAsItsType(t *testing.T) {
	task := &Task{ID: "t", Session: "s"}
	g := fixed{map[Key]Record{task.Key(): task, SessionKey("wrong"): task}, ErrNotFound}

	if got, err := Get[*Task](g, task.Key()); got != task || err != nil {
		t.Errorf("Get: %v, %v", got, err)
	}
	if got, err := Get[*Task](g, TaskKey("absent")); got != nil || !errors.Is(err, ErrNotFound) {
		t.Errorf("Get of an absent record: %v, %v", got, err)
	}
	got, err := Get[*Session](g, SessionKey("wrong"))
	if got != nil || err == nil || errors.Is(err, ErrNotFound) || !strings.Contains(err.Error(), "session/wrong") {
		t.Errorf("Get of a record of another type: %v, %v", got, err)
	}
}

func TestFindReturnsNilForAnAbsentRecord(t *testing.T) {
	task := &Task{ID: "t"}
	g := fixed{map[Key]Record{task.Key(): task}, ErrNotFound}
	if got, err := Find[*Task](g, task.Key()); got != task || err != nil {
		t.Errorf("Find: %v, %v", got, err)
	}
	if got, err := Find[*Task](g, TaskKey("absent")); got != nil || err != nil {
		t.Errorf("Find of an absent record: %v, %v", got, err)
	}
	broken := errors.New("broken")
	if got, err := Find[*Task](fixed{other: broken}, task.Key()); got != nil || !errors.Is(err, broken) {
		t.Errorf("Find in a store that fails: %v, %v", got, err)
	}
}

func TestKeysHaveOneOrder(t *testing.T) {
	ordered := []Key{
		PoolKey(), InstanceKey("B"), InstanceKey("a"), InstanceKey("a0"), InstanceKey("é"), SharingKey("A"),
		ContainerKey("c"), SessionKey("a"), SessionKey("b"), TaskKey(""), LeaseKey("z"), MirrorsKey("a"),
	}
	for i, a := range ordered {
		for j, b := range ordered {
			if got := sign(a.Compare(b)); got != sign(i-j) {
				t.Errorf("%s.Compare(%s) = %d", a, b, got)
			}
		}
	}
	mixed := slices.Clone(ordered)
	slices.Reverse(mixed)
	slices.SortFunc(mixed, Key.Compare)
	if !slices.Equal(mixed, ordered) {
		t.Errorf("sorted: %v", mixed)
	}
}

func sign(n int) int {
	switch {
	case n < 0:
		return -1
	case n > 0:
		return 1
	}
	return 0
}

func TestPageSizeIsBounded(t *testing.T) {
	for limit, want := range map[int]int{-1: DefaultLimit, 0: DefaultLimit, 1: 1, MaxLimit: MaxLimit, MaxLimit + 1: MaxLimit} {
		if got := (Page{Limit: limit}).Size(); got != want {
			t.Errorf("Size with Limit %d is %d, want %d", limit, got, want)
		}
	}
}
