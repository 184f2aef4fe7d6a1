package store

import (
	"cmp"
	"time"

	"github.com/berth-go/berth/naming"
)

// Page bounds what a query returns. Results come in ascending order of ID, unless the query says otherwise; the next
// page begins after the last ID of this one.
type Page struct {
	After string // "" = from the beginning
	Limit int    // 0 = DefaultLimit; more than MaxLimit is MaxLimit
}

// The sizes of a page.
const (
	DefaultLimit = 100
	MaxLimit     = 1000
)

// Size returns the number of records that the page may hold.
func (p Page) Size() int { return min(cmp.Or(max(p.Limit, 0), DefaultLimit), MaxLimit) }

// InstanceQuery selects instances. Its zero value selects all.
type InstanceQuery struct {
	States []InstanceState // none = all
	// Placeable selects those that are ready and have a free slot, the fullest (fewest free slots) first, then by
	// ID. After is not looked at.
	Placeable bool
	Page
}

// ContainerQuery selects containers. Its zero value selects all.
type ContainerQuery struct {
	Instance string           // "" = all
	Owner    string           // "" = all
	States   []ContainerState // none = all
	Page
}

// SessionQuery selects sessions: those to which all its fields apply. Its zero value selects all.
type SessionQuery struct {
	States     []SessionState // none = all
	TaskID     string
	UserID     string
	Repository naming.Repository // zero = all
	Labels     map[string]string // those that have all of these
	Container  string            // Container.ID
	Instance   string            // Instance.ID
	Owner      string
	Queued     bool // those that wait for a slot
	// LeaseBefore selects the active ones that have a LeaseUntil, before then; EndedBefore the ended ones that have an
	// EndedAt, before then; the earliest first, then by ID. After is not looked at. Zero = all. At most one
	// of the two is of use in a query: which of both gives the order is open.
	LeaseBefore time.Time
	EndedBefore time.Time
	Page
}
