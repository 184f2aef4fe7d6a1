package daemon

import (
	"fmt"
	"slices"
	"testing"

	"github.com/berth-go/berth/agent/internal/wire"
)

// TestEndingsAreBounded: what was ended and then closed is dropped, and a client that counts what it gets hears of each that is left.
func TestEndingsAreBounded(t *testing.T) {
	open := map[string]bool{"kept": true}
	e := newEndings(func(id string) bool { return open[id] })
	e.add("kept", "disk")
	for i := range 1000 {
		id := fmt.Sprint("s", i)
		open[id] = true
		e.add(id, "disk")
		if some, _ := e.since(i + 1); len(some) != 1 || some[0] != (wire.Ended{ID: id, Reason: "disk", Number: i + 2}) {
			t.Fatalf("after the number %d: %v", i+1, some)
		}
		delete(open, id)
	}
	if len(e.all) > 2 || cap(e.all) > 8 {
		t.Errorf("%d endings are kept, with room for %d", len(e.all), cap(e.all))
	}
	ids := func(some []wire.Ended) (ids []string) {
		for _, one := range some {
			ids = append(ids, one.ID)
		}
		return ids
	}
	for seen, want := range map[int][]string{-1: {"kept", "s999"}, 0: {"kept", "s999"}, 1: {"s999"}, 500: {"s999"}, 1000: {"s999"}, 1001: nil, 2000: nil} {
		if some, _ := e.since(seen); !slices.Equal(ids(some), want) {
			t.Errorf("after the number %d: %v, want %q", seen, some, want)
		}
	}
	// A client of an older version adds up what it gets. It may hear of one again, and skips none.
	heard := make(map[string]bool)
	for seen := 0; seen < 1001; {
		some, more := e.since(seen)
		if len(some) == 0 {
			t.Fatalf("nothing after the number %d", seen)
		}
		for _, one := range some {
			heard[one.ID] = true
		}
		if seen += len(some); seen == 1001 {
			e.add("last", "disk")
			<-more
			some, _ = e.since(seen)
			heard[some[0].ID] = len(some) == 1
		}
	}
	if !heard["kept"] || !heard["s999"] || !heard["last"] {
		t.Errorf("heard of %v", heard)
	}
}
