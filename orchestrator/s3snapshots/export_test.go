package s3snapshots

import (
	"time"

	"github.com/berth-go/berth/internal/snapshots"
	"github.com/berth-go/berth/orchestrator"
)

// NewSmall is New for objects that are sent in parts of so many bytes, and lists with so many objects on a page.
func NewSmall(cfg Config, part int64, page int32) orchestrator.SnapshotStore {
	b := newBucket(cfg.Client, cfg)
	b.part, b.page = part, page
	return snapshots.New(b, cfg.Grace)
}

// PartSize returns the size of the parts of a content.
func PartSize(size int64) int64 { return (&bucket{part: minPart}).partSize(size) }

// Grace is the grace period of the tests.
const Grace = 24 * time.Hour
