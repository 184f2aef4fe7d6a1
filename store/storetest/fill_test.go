package storetest

import (
	"encoding/json"
	"reflect"
	"testing"

	"github.com/berth-go/berth/store"
)

func TestRecordsSurviveJSON(t *testing.T) {
	for i, like := range everyKind() {
		r := filled(like, i)
		text, err := json.Marshal(r)
		if err != nil {
			t.Fatal(err)
		}
		back := reflect.New(reflect.TypeOf(like).Elem()).Interface().(store.Record)
		if err := json.Unmarshal(text, back); err != nil {
			t.Fatalf("%s: %v", text, err)
		}
		requireSame(t, "a record as JSON and back", back, r)
	}
}

func TestClonesShareNothing(t *testing.T) {
	for i, like := range everyKind() {
		r, want := filled(like, i), filled(like, i)
		clone := r.Clone()
		requireSame(t, "a clone", clone, want)
		scramble(clone)
		requireSame(t, "a record whose clone was changed", r, want)
	}
}
