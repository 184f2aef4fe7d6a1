package usage

import (
	"cmp"
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"math"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/internal/demand"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// account is what one step adds to the store.
type account struct {
	cfg    *Config
	ledger *store.Ledger
	rows   map[string]*store.Usage // by ID; what is to be added to the stored ones
	cold   map[string]time.Duration
	starts []demand.Start // what the pool learns; none if it does not
}

// observed is what a step knows of the instance of one machine.
type observed struct {
	slots    int                      // 0 = as the Ledger has it
	sessions []*store.Session         // of the instance
	empties  []store.Empty            // its containers that no session holds now
	cold     map[string]time.Duration // the last cold start, by sharing key
}

// add accounts a span, and moves the machine's Through.
func (a *account) add(s span, o observed) {
	m := &a.ledger.Meters[s.meter]
	if o.slots > 0 {
		m.Slots = o.slots
	}
	m.Through = s.to
	price := a.price(s.machine.Machine)
	if s.to < s.from { // too much was accounted
		a.charge(a.row(s.to, nil, s), func(r *store.Usage) *int64 { return &r.Idle }, s.to-s.from, price)
		return
	}
	slices.SortFunc(o.sessions, func(x, y *store.Session) int {
		return cmp.Or(placedAt(x).Add(x.Took).Compare(placedAt(y).Add(y.Took)), cmp.Compare(x.ID, y.ID))
	})
	var held []int64
	var holders []*store.Session
	for _, x := range o.sessions {
		if h := heldBetween(x, s.from, s.to); h > 0 {
			held, holders = append(held, h), append(holders, x)
		}
		if startedBetween(x, s.from, s.to) {
			a.start(a.row(s.from, x, s), x, o.cold)
			a.learn(x)
		}
	}
	warm := len(held) // the first share of an empty container
	var kept []store.Empty
	for _, e := range o.empties {
		if h := s.to - max(e.Since.UnixMicro(), s.from); h > 0 {
			held, kept = append(held, h), append(kept, e)
		}
	}
	of, idle := shares(s.to-s.from, m.Slots, held)
	for i, e := range kept {
		if of[warm+i] > 0 {
			a.charge(a.rowOf(s.from, s, e.Repository.String(), nil), func(r *store.Usage) *int64 { return &r.Warm }, of[warm+i], price)
		}
	}
	for i, x := range holders {
		r := a.row(s.from, x, s)
		r.Held += held[i]
		a.charge(r, func(r *store.Usage) *int64 { return &r.Used }, of[i], price)
	}
	if idle > 0 {
		a.charge(a.row(s.from, nil, s), func(r *store.Usage) *int64 { return &r.Idle }, idle, price)
	}
}

// start counts the start of a session.
func (a *account) start(r *store.Usage, s *store.Session, cold map[string]time.Duration) {
	switch s.Start {
	case store.StartCold:
		r.Cold++
		a.cold[s.ContainerName] = s.Took
		return
	case store.StartWarm:
		r.WarmStarts++
	case store.StartAttached:
		r.Attached++
	default:
		return
	}
	last, ok := a.cold[s.ContainerName] // of this step
	if !ok {
		last = cold[s.ContainerName]
	}
	r.Saved += max(last-s.Took, 0).Microseconds()
}

// learn notes the start of a session for the demand.
func (a *account) learn(s *store.Session) {
	if a.cfg.Learn {
		a.starts = append(a.starts, demand.Start{
			Name: s.ContainerName, Key: s.SharingKey, Remote: s.Remote, At: placedAt(s).Add(s.Took), Kind: s.Start, Took: s.Took,
		})
	}
}

// charge adds machine time to a row, with its price in 1e-9 of a dollar for an hour; a negative price is not known.
func (a *account) charge(r *store.Usage, field func(*store.Usage) *int64, spent int64, price float64) {
	*field(r) += spent
	if price < 0 {
		r.Unpriced += spent
		return
	}
	r.Cost += int64(math.Round(price * float64(spent) / float64(hour)))
}

// price returns the price of an hour of a machine in 1e-9 of a dollar; negative = it is not known. A function of the host that panics knows
// none.
func (a *account) price(m pool.Machine) (price float64) {
	if a.cfg.Price == nil {
		return -1
	}
	defer func() {
		if p := recover(); p != nil {
			a.cfg.Failures.Report("Config.PricePerHour panicked", fmt.Errorf("%v", p), "type", m.Type)
			price = -1
		}
	}()
	usd, ok := a.cfg.Price(m)
	if !ok || !(usd >= 0 && usd < 1e6) {
		return -1
	}
	return usd * 1e9
}

// row returns the row of a session in the hour of a time. A nil session stands for time that belongs to none.
func (a *account) row(at int64, s *store.Session, on span) *store.Usage {
	if s == nil {
		return a.rowOf(at, on, "", nil)
	}
	return a.rowOf(at, on, s.SharingKey.Repository.String(), s)
}

// rowOf returns the row of a repository in the hour of a time. A nil session stands for time that belongs to no user.
func (a *account) rowOf(at int64, on span, repository string, s *store.Session) *store.Usage {
	r := store.Usage{Repo: repository, Type: on.machine.Type, Spot: on.machine.Spot}
	if s != nil {
		r.User = s.UserID
		for _, name := range a.cfg.Labels {
			if value := s.Labels[name]; value != "" {
				r.Labels = append(r.Labels, name+"="+cut(value))
			}
		}
	}
	key := []string{r.Repo, r.User, r.Type, "on demand"}
	if r.Spot {
		key[3] = "spot"
	}
	sum := sha256.Sum256([]byte(strings.Join(append(key, r.Labels...), "\x00")))
	r.ID = store.UsageID(time.UnixMicro(at), base64.RawURLEncoding.EncodeToString(sum[:8]))
	if a.rows[r.ID] == nil {
		a.rows[r.ID] = &r
	}
	return a.rows[r.ID]
}

// cut bounds the value of a label.
func cut(value string) string {
	if len(value) <= maxLabel {
		return value
	}
	return strings.ToValidUTF8(value[:maxLabel], "")
}

// add adds what one row counts to another.
func add(to, what *store.Usage) {
	to.Used += what.Used
	to.Warm += what.Warm
	to.Idle += what.Idle
	to.Held += what.Held
	to.Attached += what.Attached
	to.WarmStarts += what.WarmStarts
	to.Cold += what.Cold
	to.Saved += what.Saved
	to.Cost += what.Cost
	to.Unpriced += what.Unpriced
}
