package dashboard

import (
	"context"
	"sync"
	"testing"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/fake"
)

// TestUsageOfAViewerWhoLeaves: an answer that a viewer did not wait for is not shown to the next one.
func TestUsageOfAViewerWhoLeaves(t *testing.T) {
	p, err := fake.NewProvider(fake.Options{Instant: true})
	if err != nil {
		t.Fatal(err)
	}
	defer p.Close()
	u := usageCache{p: p}
	left, leave := context.WithCancel(t.Context())
	leave()
	for hours := range 20 {
		key := usageKey{hours: hours + 1, by: berth.UsageByRepository}
		if _, _, err := u.get(left, key); err == nil {
			t.Error("a viewer who had left was answered")
		}
		var all sync.WaitGroup
		for range 4 {
			all.Go(func() {
				if _, _, err := u.get(t.Context(), key); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
	}
}
