package dashboard

import (
	"cmp"
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/berth-go/berth"
)

// usageRow is a part of the bill.
type usageRow struct {
	Key      string  `json:"key"`
	Used     seconds `json:"used"`
	Warm     seconds `json:"warm"`
	Idle     seconds `json:"idle"`
	Sessions seconds `json:"sessions"`
	Attached int64   `json:"attached"`
	Warms    int64   `json:"warm_starts"`
	Cold     int64   `json:"cold"`
	Saved    seconds `json:"saved"`
	USD      float64 `json:"usd"`
	Unpriced seconds `json:"unpriced"`
	Share    int     `json:"-"` // of the largest row, of 1000
	WarmPart int     `json:"-"`
	IdlePart int     `json:"-"`
}

// Starts is how many sessions became active.
func (u *usageRow) Starts() int64 { return u.Attached + u.Warms + u.Cold }

// AttachedShare is the part of them that joined a running container, in percent.
func (u *usageRow) AttachedShare() int { return percent(float64(u.Attached), float64(u.Starts())) }

// Machine is all machine time.
func (u *usageRow) Machine() seconds { return u.Used + u.Warm + u.Idle }

func (u *usageRow) add(o usageRow) {
	u.Used += o.Used
	u.Warm += o.Warm
	u.Idle += o.Idle
	u.Sessions += o.Sessions
	u.Attached += o.Attached
	u.Warms += o.Warms
	u.Cold += o.Cold
	u.Saved += o.Saved
	u.USD += o.USD
	u.Unpriced += o.Unpriced
}

// usageKey names one division of the bill.
type usageKey struct {
	hours int
	by    berth.UsageBy
	label string
}

// usageCache keeps what was asked of the bill. The rows are one hour each, and written once a minute: an answer serves for a
// minute, and longer if it has cost much. One that is older is shown while the next one is read.
type usageCache struct {
	p *berth.Provider

	mu  sync.Mutex // protects what follows
	all map[usageKey]*usageAnswer
}

type usageAnswer struct {
	reading chan struct{} // has room for one reader
	rows    []usageRow
	through time.Time
	err     error
	read    time.Time // zero = never
	cost    time.Duration
}

const usageAge = time.Minute

// get returns the parts of the bill, and the time until which it is complete.
func (u *usageCache) get(ctx context.Context, key usageKey) ([]usageRow, time.Time, error) {
	u.mu.Lock()
	if u.all == nil || len(u.all) > 40 {
		u.all = map[usageKey]*usageAnswer{}
	}
	a := u.all[key]
	if a == nil {
		a = &usageAnswer{reading: make(chan struct{}, 1)}
		u.all[key] = a
	}
	fresh := !a.read.IsZero()
	old := time.Since(a.read) > max(usageAge, share*a.cost)
	costly := a.cost > 100*time.Millisecond
	rows, through, err := a.rows, a.through, a.err
	u.mu.Unlock()
	if fresh && !old {
		return rows, through, err
	}
	if fresh && costly { // show the old one, and read in the background
		select {
		case a.reading <- struct{}{}:
			go u.read(context.WithoutCancel(ctx), key, a)
		default:
		}
		return rows, through, err
	}
	select {
	case a.reading <- struct{}{}:
	case <-ctx.Done():
		return nil, time.Time{}, ctx.Err()
	}
	u.mu.Lock()
	again := !a.read.IsZero() && time.Since(a.read) < usageAge // by the reader before
	u.mu.Unlock()
	if again {
		<-a.reading
	} else if u.read(ctx, key, a); ctx.Err() != nil {
		return nil, time.Time{}, ctx.Err()
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	return a.rows, a.through, a.err
}

// usageTimeout bounds a reading of the bill.
const usageTimeout = time.Minute

// read reads the bill. The caller has a place in a.reading, which read gives back. If viewer ends, nothing is kept: others are to read
// it again.
func (u *usageCache) read(viewer context.Context, key usageKey, a *usageAnswer) {
	defer func() { <-a.reading }()
	ctx, cancel := context.WithTimeout(viewer, usageTimeout)
	defer cancel()
	begun := time.Now()
	var rows []usageRow
	q := berth.UsageQuery{From: begun.Add(-time.Duration(key.hours) * time.Hour), By: key.by, Label: key.label}
	var err error
	for one, failure := range u.p.Usage(ctx, q) {
		if err = failure; err != nil {
			break
		}
		rows = append(rows, usageRow{
			Key: one.Key, Used: seconds(one.Used), Warm: seconds(one.Warm), Idle: seconds(one.Idle), Sessions: seconds(one.Sessions),
			Attached: one.Starts[berth.StartAttached], Warms: one.Starts[berth.StartWarm], Cold: one.Starts[berth.StartCold],
			Saved: seconds(one.Saved), USD: one.USD, Unpriced: seconds(one.Unpriced),
		})
	}
	var through time.Time
	if err == nil {
		through, err = u.p.UsageThrough(ctx)
	}
	u.mu.Lock()
	defer u.mu.Unlock()
	if err != nil && viewer.Err() != nil {
		return
	}
	a.rows, a.through, a.err, a.read, a.cost = rows, through, err, time.Now(), time.Since(begun)
}

// usageView is the page of the bill.
type usageView struct {
	paging
	Hours   int        `json:"hours"`
	By      string     `json:"by"`
	Label   string     `json:"label,omitempty"`
	Labels  []string   `json:"labels"` // by which the bill can be divided
	Sort    string     `json:"sort"`
	Rows    []usageRow `json:"usage"`
	Sum     usageRow   `json:"sum"`
	Through time.Time  `json:"through,omitzero"` // the bill is complete until then; zero = to now
	Hidden  bool       `json:"hidden,omitempty"`
	Hint    string     `json:"-"`
}

var usageHours = []int{24, 7 * 24, 30 * 24}

var usageColumns = map[string]func(a, b usageRow) int{
	"key":      func(a, b usageRow) int { return cmp.Compare(a.Key, b.Key) },
	"used":     func(a, b usageRow) int { return cmp.Compare(a.Used, b.Used) },
	"machine":  func(a, b usageRow) int { return cmp.Compare(a.Machine(), b.Machine()) },
	"sessions": func(a, b usageRow) int { return cmp.Compare(a.Sessions, b.Sessions) },
	"starts":   func(a, b usageRow) int { return cmp.Compare(a.Starts(), b.Starts()) },
	"saved":    func(a, b usageRow) int { return cmp.Compare(a.Saved, b.Saved) },
	"cost":     func(a, b usageRow) int { return cmp.Compare(a.USD, b.USD) },
}

// bill is the page of the bill, as a viewer asks for it.
func (s *server) bill(v *viewing, labels []string) (*usageView, error) {
	u := &usageView{Hours: usageHours[0], By: string(berth.UsageByRepository), Labels: labels, Sort: v.q.Get("sort"), Rows: []usageRow{}}
	if v.sees != nil {
		u.Hidden = true
		return u, nil
	}
	if n, err := strconv.Atoi(v.q.Get("hours")); err == nil && slices.Contains(usageHours, n) {
		u.Hours = n
	}
	switch by := v.q.Get("by"); berth.UsageBy(by) {
	case berth.UsageByUser, berth.UsageByDay:
		u.By = by
	case berth.UsageByLabel:
		if label := v.q.Get("label"); slices.Contains(labels, label) {
			u.By, u.Label = by, label
		}
	}
	all, through, err := s.usage.get(v.ctx, usageKey{hours: u.Hours, by: berth.UsageBy(u.By), label: u.Label})
	if err != nil {
		return nil, err
	}
	u.Through = through
	rows := slices.Clone(all)
	var most seconds
	for _, row := range rows {
		u.Sum.add(row)
		most = max(most, row.Machine())
	}
	order(rows, u.Sort, usageColumns, func(a, b usageRow) int {
		if u.By == string(berth.UsageByDay) {
			return -cmp.Compare(a.Key, b.Key)
		}
		return cmp.Or(cmp.Compare(b.USD, a.USD), cmp.Compare(b.Machine(), a.Machine()), cmp.Compare(a.Key, b.Key))
	})
	var from, to int
	u.paging, from, to = v.q.part(len(rows))
	for _, row := range rows[from:to] {
		if most > 0 {
			row.Share, row.WarmPart, row.IdlePart = int(1000*row.Used/most), int(1000*row.Warm/most), int(1000*row.Idle/most)
		}
		u.Rows = append(u.Rows, row)
	}
	u.Hint = "Nothing is billed in this time. The process that plans accounts once a minute, a minute behind."
	return u, nil
}

// usageLabels are the labels by which the bill can be divided, as the pool's planner has them.
func (sc scope) usageLabels() []string { return strings.Fields(sc.pool.Settings["UsageLabels"]) }
