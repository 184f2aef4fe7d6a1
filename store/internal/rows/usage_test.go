package rows

import (
	"testing"
	"time"

	"github.com/berth-go/berth/store"
)

// TestARowOfTheBillIsSmall: there may be one for each user of each repository in each hour of five weeks.
func TestARowOfTheBillIsSmall(t *testing.T) {
	const hour = int64(time.Hour / time.Microsecond)
	row := &store.Usage{
		ID: store.UsageID(time.Now(), "0123456789a"), Repo: "github.com/anthropic/claude-code", User: "somebody@example.com",
		Labels: []string{"team=platform"}, Type: "m7i.4xlarge", Spot: true, Used: hour, Held: 10 * hour,
		Attached: 100, WarmStarts: 10, Cold: 1, Saved: hour, Cost: 350_000_000,
	}
	body, err := Encode(row, nil)
	if err != nil || len(body)+len(row.ID) >= 300 {
		t.Errorf("%d bytes, %v: %s", len(body)+len(row.ID), err, body)
	}
}
