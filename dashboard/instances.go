package dashboard

import (
	"cmp"
	"strconv"
	"strings"
	"time"

	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// instanceRow is an instance in the list.
type instanceRow struct {
	ID        string    `json:"id"`
	CloudID   string    `json:"cloud_id,omitempty"`
	Address   string    `json:"address,omitempty"`
	State     string    `json:"state"`
	Reason    string    `json:"reason,omitempty"`
	Type      string    `json:"type,omitempty"`
	Zone      string    `json:"zone,omitempty"`
	Market    string    `json:"market,omitempty"`  // spot, on demand
	Outlook   string    `json:"outlook,omitempty"` // the cloud's notice
	Isolation string    `json:"isolation,omitempty"`
	Weak      string    `json:"isolation_reason,omitempty"`
	Shared    bool      `json:"shared_checkouts"`
	Copies    string    `json:"checkout_reason,omitempty"` // why checkouts are not shared
	Slots     int       `json:"slots"`
	Used      int       `json:"used"`
	Empty     int       `json:"empty"`          // containers without sessions; 0 for a viewer who sees some tasks alone
	Holders   []taskRef `json:"holders"`        // those that the viewer sees
	Free      []int     `json:"-"`              // one for each free slot that is drawn
	Others    []int     `json:"-"`              // one for each slot of a task that the viewer does not see
	Hidden    int       `json:"-"`              // slots that are not drawn
	Next      string    `json:"next,omitempty"` // what is about to happen to it
	Level     string    `json:"-"`
	Drain     bool      `json:"drain"`
	Held      bool      `json:"held"` // an operator has cordoned it
	moments
}

// instancesView is the list of instances.
type instancesView struct {
	paging
	Sort, State, Text string         `json:"-"`
	Rows              []*instanceRow `json:"instances"`
	Counts            map[string]int `json:"-"`
	Launching         int            `json:"launching"` // launches under way
	Failures          int            `json:"launch_failures"`
	Failure           string         `json:"launch_failure,omitempty"`
	After             time.Time      `json:"launch_after,omitzero"`
	Doubts            int            `json:"doubtful_launches"`
	Most              int            `json:"max_instances"`
	Hint              string         `json:"-"`
	CanAct            bool           `json:"-"`
}

// instanceStates are the states of instances, the ones to look at first.
var instanceStates = []string{"lost", "launching", "booting", "cordoned", "terminating", "ready"}

var instanceColumns = map[string]func(a, b *store.Instance) int{
	"age":   func(a, b *store.Instance) int { return b.CreatedAt.Compare(a.CreatedAt) },
	"used":  func(a, b *store.Instance) int { return a.Sessions - b.Sessions },
	"free":  func(a, b *store.Instance) int { return (a.Slots - a.Sessions) - (b.Slots - b.Sessions) },
	"state": func(a, b *store.Instance) int { return cmp.Compare(a.State, b.State) },
}

// slotsDrawn bounds the slots of an instance that are drawn.
const slotsDrawn = 16

func (sc scope) machines(q query, now time.Time) *instancesView {
	v := &instancesView{Sort: q.Get("sort"), State: q.Get("state"), Text: q.Get("q"), Counts: map[string]int{}, Rows: []*instanceRow{}}
	text := q.text()
	var found []*store.Instance
	for _, in := range sc.instances {
		v.Counts[string(in.State)]++
		if v.State != "" && string(in.State) != v.State {
			continue
		}
		if text != "" && !strings.Contains(strings.ToLower(in.ID+"\n"+in.CloudID+"\n"+in.Address+"\n"+in.Type+"\n"+in.Reason), text) {
			continue
		}
		found = append(found, in)
	}
	rank := map[store.InstanceState]int{}
	for i, state := range instanceStates {
		rank[store.InstanceState(state)] = i
	}
	order(found, v.Sort, instanceColumns, func(a, b *store.Instance) int {
		return cmp.Or(rank[a.State]-rank[b.State], b.Sessions-a.Sessions, cmp.Compare(a.ID, b.ID))
	})
	var from, to int
	v.paging, from, to = q.part(len(found))
	for _, in := range found[from:to] {
		v.Rows = append(v.Rows, sc.machine(in, now))
	}
	v.Launching = v.Counts["launching"]
	v.Failures, v.Failure, v.Doubts = sc.pool.LaunchFailures, sc.pool.LaunchFailure, len(sc.pool.Doubts)
	if v.Failures > 0 {
		v.After = sc.pool.LaunchAfter
	}
	v.Most, _ = strconv.Atoi(sc.pool.Settings["MaxInstances"])
	if v.Hint = "No instance matches."; v.State == "" && text == "" {
		v.Hint = "The pool has no instance. The first task that waits makes the planner launch one; MinInstances keeps some ready."
	}
	return v
}

// machine describes an instance.
func (sc scope) machine(in *store.Instance, now time.Time) *instanceRow {
	row := &instanceRow{
		ID: in.ID, CloudID: in.CloudID, Address: in.Address, State: string(in.State), Reason: in.Reason, Type: in.Type, Zone: in.Zone,
		Outlook: in.Outlook, Isolation: string(in.Isolation), Weak: in.IsolationReason, Shared: in.SharedCheckouts, Copies: in.CheckoutReason, Slots: in.Slots, Used: in.Sessions,
		Drain: in.Drain, Held: in.Wish == store.WishCordon, Holders: []taskRef{}, moments: moments{Since: in.Since, CreatedAt: in.CreatedAt},
	}
	if sc.sees == nil {
		row.Empty = len(in.Empties)
	}
	switch {
	case in.Spot:
		row.Market = "spot"
	case in.Type != "":
		row.Market = "on demand"
	}
	room := slotsDrawn
	for _, t := range sortedTasks(sc.onInstance[in.ID]) {
		if sc.see(t) && room > 0 {
			row.Holders = append(row.Holders, refer(t))
			room--
		}
	}
	others := min(max(in.Sessions-len(row.Holders), 0), room)
	row.Others = make([]int, others)
	free := min(max(in.Slots-in.Sessions, 0), room-others)
	row.Free = make([]int, free)
	row.Hidden = max(in.Slots-len(row.Holders)-others-free, 0)
	row.Next, row.Level = sc.next(in, now)
	return row
}

// next says what is about to happen to an instance, and how bad its state is.
func (sc scope) next(in *store.Instance, now time.Time) (what, level string) {
	setting := func(name string) time.Duration {
		d, _ := time.ParseDuration(sc.pool.Settings[name])
		return d
	}
	tasks := plural(in.Sessions, "task")
	switch in.State {
	case store.InstanceLaunching, store.InstanceBooting:
		if d := setting("BootTimeout") - now.Sub(in.CreatedAt); d > 0 {
			return "It is given up if it is not ready in " + short(d), ""
		}
		return "It is late, and about to be given up", "warn"
	case store.InstanceReady:
		if in.Wish != "" {
			return "An operator wants it to " + string(in.Wish) + ": it takes no tasks, and the planner is about to change its state", "warn"
		}
		if most := setting("MaxInstanceAge"); most > 0 && now.Sub(in.CreatedAt) > most*3/4 {
			what = "It is replaced soon, because of its age. "
		}
		if idle := setting("InstanceIdleTimeout"); in.Sessions == 0 && idle > 0 && !in.IdleSince.IsZero() {
			if d := idle - now.Sub(in.IdleSince); d > 0 {
				return what + "It is retired in " + short(d) + " if it is not needed", ""
			}
			return what + "It is idle, and kept because it is needed", ""
		}
		return what, ""
	case store.InstanceCordoned:
		switch {
		case pool.Outlook(in.Outlook) == pool.OutlookInterrupted:
			return "The cloud is taking it back. Its " + tasks + " will be lost", "bad"
		case in.Drain && in.Sessions > 0:
			return "It ends after its " + tasks, "warn"
		case in.Wish == store.WishUncordon:
			return "It is about to take tasks again", ""
		case in.Wish == store.WishDrain:
			return "It is about to be drained", "warn"
		case in.Wish == store.WishCordon:
			return "It takes no tasks until it is uncordoned", "warn"
		case in.Sessions == 0:
			return "It is retired next", ""
		}
		return "It takes no new tasks", "warn"
	case store.InstanceLost:
		if in.Sessions > 0 {
			return "Its " + tasks + " are being ended", "bad"
		}
		return "It is removed when the cloud shows that it has ended", "bad"
	case store.InstanceTerminating:
		return "It is removed when the cloud shows that it has ended", ""
	}
	return "", ""
}
