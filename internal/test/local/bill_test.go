package local_test

import (
	"testing"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/internal/test/gittest"
	"github.com/berth-go/berth/internal/test/local"
	"github.com/berth-go/berth/store"
	"github.com/berth-go/berth/store/memstore"
)

// TestDestroyCompletesTheBill: of a pool that lived for seconds, too.
func TestDestroyCompletesTheBill(t *testing.T) {
	t.Parallel()
	records := memstore.New()
	l := local.New(t, berth.Config{Store: records})
	before := time.Now()
	l.Create("t", l.Git.Create("org/repo", gittest.Small()).URL(), "")
	if err := l.Destroy(t.Context()); err != nil {
		t.Fatal(err)
	}
	lived := time.Since(before)
	var all, used time.Duration
	var cold int64
	for r, err := range store.UsageRows(t.Context(), records, store.UsageQuery{}) {
		if err != nil {
			t.Fatal(err)
		}
		all += time.Duration(r.Used+r.Idle) * time.Microsecond
		used += time.Duration(r.Used) * time.Microsecond
		cold += r.Cold
	}
	if all > lived || all < used || used <= 0 || cold != 1 {
		t.Errorf("%v and %d cold starts are accounted, %v of it used; the pool lived for %v", all, cold, used, lived)
	}
}
