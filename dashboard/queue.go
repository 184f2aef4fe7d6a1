package dashboard

import (
	"fmt"
	"strconv"
	"time"

	"github.com/berth-go/berth/store"
)

// waitingRow is a task that waits for a slot.
type waitingRow struct {
	taskRef
	Place      int       `json:"place"` // in the order of service, from 1
	Repository string    `json:"repository"`
	Branch     string    `json:"branch"`
	Since      time.Time `json:"since"`
	Waits      seconds   `json:"waits"`
	For        string    `json:"for"`  // what it waits for
	Help       string    `json:"help"` // what would help
}

// queueView is the queue.
type queueView struct {
	paging
	Rows    []waitingRow `json:"waiting"`
	Coming  int          `json:"instances_starting"`
	Free    int          `json:"slots_free"`
	Summary string       `json:"summary"`
}

// waits lists the tasks that wait and match, at most so many.
func (sc scope) waits(now time.Time, most int, match func(*task) bool) *queueView {
	v := &queueView{Rows: []waitingRow{}}
	room := sc.room()
	v.Coming, v.Free = room.coming, room.free
	for i, w := range sc.waiting {
		t := sc.tasks[w.SessionID]
		if t == nil || !sc.see(t) || match != nil && !match(t) {
			continue
		}
		if v.Total++; v.Total > most {
			continue
		}
		row := waitingRow{
			taskRef: refer(t), Place: i + 1, Repository: t.SharingKey.Repository.String(), Branch: t.branch(), Since: t.CreatedAt,
			Waits: seconds(now.Sub(t.CreatedAt)),
		}
		switch {
		case w.NoLimits:
			row.For = "the limits of its user, which are not known"
			row.Help = "Config.UserLimitsFor fails for this user: the log of the processes says why."
		case w.UserLimit > 0:
			row.For = fmt.Sprintf("one of its user's %s to end", plural(w.UserLimit, "task"))
			row.Help = "End one of them, or raise UserLimits.Sessions."
		case w.Bound:
			row.For = "a slot beside the container of its repository, whose instance takes no more tasks"
			row.Help = "A task of that instance must end, or MaxContainersPerRepository must be raised."
		default:
			row.For, row.Help = room.reason(now)
		}
		v.Rows = append(v.Rows, row)
	}
	v.Summary = room.summary()
	return v
}

// queue is the page of the queue.
func (sc scope) queue(q query, now time.Time) *queueView {
	all := sc.waits(now, 0, nil)
	p, from, to := q.part(all.Total)
	at := -1
	v := sc.waits(now, q.most, func(*task) bool { at++; return at >= from && at < to })
	v.paging = p
	return v
}

// room is why there is no free slot.
type room struct {
	instances, most, coming, free, slots int
	failure                              string
	after                                time.Time
	closed, planned                      bool
}

func (sc scope) room() (r room) {
	r.instances, r.closed, r.planned = len(sc.instances), sc.pool.Closed, sc.planner != nil
	r.most, _ = strconv.Atoi(sc.pool.Settings["MaxInstances"])
	for _, in := range sc.instances {
		r.slots += in.Slots
		switch in.State {
		case store.InstanceLaunching, store.InstanceBooting:
			r.coming++
		case store.InstanceReady:
			if !in.Drain {
				r.free += max(in.Slots-in.Sessions, 0)
			}
		}
	}
	if sc.pool.LaunchFailures > 0 {
		r.failure, r.after = sc.pool.LaunchFailure, sc.pool.LaunchAfter
	}
	return r
}

// reason says what a task waits for that needs any slot, and what would help.
func (r room) reason(now time.Time) (what, help string) {
	switch {
	case r.closed:
		return "nothing: the pool is being destroyed", "Open the pool again with New."
	case !r.planned:
		return "a process that plans the pool", "Start one, or see why none gets the planner's lease."
	case r.free > 0:
		return "its turn: a slot is free", "It is served within a second."
	case r.coming > 0:
		return plural(r.coming, "instance") + " that start", "Wait for the boot. SpareSlots keeps room for the next time."
	case r.failure != "":
		help = "Mend what the launch failed for."
		if d := r.after.Sub(now); d > 0 {
			help += " The next one may be tried in " + short(d) + "."
		}
		return "an instance, but launches fail: " + r.failure, help
	case r.most > 0 && r.instances >= r.most:
		return fmt.Sprintf("a slot: all %d of %s are taken", r.slots, plural(r.instances, "instance")), "A task must end, or MaxInstances must be raised."
	}
	return "an instance that the planner is about to launch", "Wait."
}

func (r room) summary() string {
	return fmt.Sprintf("%s of at most %d, %d of them starting, with %s, %d of them free",
		plural(r.instances, "instance"), r.most, r.coming, plural(r.slots, "slot"), r.free)
}
