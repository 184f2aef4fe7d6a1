package store

import (
	"cmp"
	"time"

	"github.com/berth-go/berth/naming"
)

// Page bounds the result of a query. Records come in ascending order of ID, unless the query says otherwise. The next page
// begins after the last ID of this page.
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
	// Placeable selects ready instances with a free slot. The instance with the fewest free slots is first; equal ones are
	// ordered by ID. After is ignored.
	Placeable bool
	Page
}

// UsageQuery selects rows of the bill. Its zero value selects all.
type UsageQuery struct {
	From time.Time // from the hour that holds it on; zero = from the beginning
	To   time.Time // to the hour that ends at it or holds it; zero = to the end
	Page
}

// Bounds returns the IDs between which the page lies: after is less than its first ID, and before is greater than its last
// one. "" = there is no bound.
func (q UsageQuery) Bounds() (after, before string) {
	after = q.After
	if !q.From.IsZero() {
		after = max(after, usageHour(q.From))
	}
	if !q.To.IsZero() {
		before = usageHour(q.To.Add(time.Hour - time.Microsecond))
	}
	return after, before
}

// ContainerQuery selects containers. Its zero value selects all.
type ContainerQuery struct {
	Instance string           // "" = all
	Owner    string           // "" = all
	States   []ContainerState // none = all
	Page
}

// SessionQuery selects the sessions that match all of its fields. Its zero value selects all.
type SessionQuery struct {
	States     []SessionState // none = all
	TaskID     string
	UserID     string
	Repository naming.Repository // zero = all
	Labels     map[string]string // sessions that have all of these
	Container  string            // Container.ID
	Instance   string            // Instance.ID
	Owner      string
	Queued     bool // sessions that wait for a slot
	// LeaseBefore selects active sessions whose LeaseUntil is set and before that time. EndedBefore selects ended sessions
	// whose EndedAt is set and before that time. The earliest is first; equal ones are ordered by ID. After is ignored.
	// Zero = all. A query should set at most one of the two: it is not defined which of them gives the order.
	LeaseBefore time.Time
	EndedBefore time.Time
	Page
}
