package dashboard

import (
	"cmp"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// problem is something that an operator should look at.
type problem struct {
	Level  string `json:"level"` // "bad": something fails. "warn": it may soon, or a limit is reached
	Title  string `json:"title"`
	Detail string `json:"detail,omitempty"` // may hold words of others
	Help   string `json:"help,omitempty"`   // what would help
	Link   string `json:"-"`                // relative to the prefix
}

// status is what every page is headed with.
type status struct {
	Pool      string         `json:"pool"`
	ReadAt    time.Time      `json:"read_at"` // when the store was read
	Problems  []problem      `json:"problems"`
	Instances map[string]int `json:"instances"` // by state
	Most      int            `json:"max_instances"`
	Used      int            `json:"slots_used"`
	Free      int            `json:"slots_free"`
	Blocked   int            `json:"slots_unavailable"` // their instances take no sessions
	Tasks     counts         `json:"tasks"`
	Longest   seconds        `json:"longest_wait"`
	Narrow    bool           `json:"narrow"` // the viewer does not see all
}

// stuckAfter is how long a container may start before that is a problem: a clone of a large repository takes minutes.
const stuckAfter = 3 * time.Minute

// header is the status that viewers have in common. It serves for a moment, because it looks at all repositories.
type header struct {
	status
	version uint64
	made    time.Time
}

const headerAge = time.Second

// status describes the pool. The caller holds mu for reading.
func (m *model) status(sc scope, now time.Time) status {
	if sc.sees != nil {
		return m.describe(sc, now)
	}
	h := m.header.Load()
	if h == nil || h.version != m.version || now.Sub(h.made) > headerAge {
		h = &header{m.describe(sc, now), m.version, now}
		m.header.Store(h)
	}
	return h.status
}

func (m *model) describe(sc scope, now time.Time) status {
	st := status{Pool: m.console.Pool(), Instances: map[string]int{}, Problems: []problem{}, Narrow: sc.sees != nil}
	st.ReadAt, st.Tasks = m.read, sc.counts()
	st.Most, _ = strconv.Atoi(sc.pool.Settings["MaxInstances"])
	for _, in := range sc.instances {
		st.Instances[string(in.State)]++
		st.Used += in.Sessions
		if free := max(in.Slots-in.Sessions, 0); pool.HasSlot(in) {
			st.Free += free
		} else {
			st.Blocked += free
		}
	}
	for _, w := range sc.waiting {
		if t := sc.tasks[w.SessionID]; t != nil && sc.see(t) {
			st.Longest = max(st.Longest, seconds(now.Sub(t.CreatedAt)))
		}
	}
	add := func(p problem) { st.Problems = append(st.Problems, p) }
	if m.err != nil {
		add(problem{Level: "bad", Title: "The store cannot be read: this page is from " + short(now.Sub(m.read)) + " ago", Detail: m.err.Error()})
	}
	sc.poolProblems(&st, now, add)
	sc.instanceProblems(&st, add)
	if sc.sees == nil {
		sc.repositoryProblems(now, add)
	}
	slices.SortStableFunc(st.Problems, func(a, b problem) int { return cmp.Compare(a.Level, b.Level) }) // "bad" comes first
	return st
}

// poolProblems adds those of the pool as a whole.
func (sc scope) poolProblems(st *status, now time.Time, add func(problem)) {
	p := sc.pool
	if p.Closed {
		add(problem{Level: "warn", Title: "The pool is being destroyed, or is destroyed: it takes no sessions"})
	}
	switch {
	case sc.planner == nil:
		add(problem{Level: "bad", Title: "No process plans the pool", Detail: "Nothing is launched, retired or accounted until one does."})
	case sc.planner.Term > 0 && now.Sub(sc.beat) > 2*sc.planner.Term+5*time.Second:
		add(problem{Level: "bad", Title: "The process that plans the pool has not been heard of for " + short(now.Sub(sc.beat)),
			Detail: sc.planner.Holder, Help: "Another process takes over, if there is one."})
	}
	for _, condition := range p.Conditions {
		add(problem{Level: "bad", Title: strings.ToUpper(condition[:1]) + condition[1:], Help: "See “Watch” in docs/operations.md."})
	}
	if p.LaunchFailures > 0 {
		title := "The last launch failed"
		if p.LaunchFailures > 1 {
			title = fmt.Sprintf("The last %d launches failed", p.LaunchFailures)
		}
		help := "The next one is tried when an instance is needed."
		if d := p.LaunchAfter.Sub(now); d > 0 {
			help = "The next one may be tried in " + short(d) + "."
		}
		add(problem{Level: "bad", Title: title, Detail: p.LaunchFailure, Help: help, Link: "instances"})
	}
	if waiting := st.Tasks.Waiting; waiting > 0 {
		level, help := "warn", "The queue says for what each waits, and what would help."
		if time.Duration(st.Longest) > 2*time.Minute {
			level = "bad"
		}
		title := plural(waiting, "task") + " wait for a slot, the first for " + short(time.Duration(st.Longest))
		if waiting == 1 {
			title = "1 task waits for a slot, for " + short(time.Duration(st.Longest))
		}
		add(problem{Level: level, Title: title, Help: help, Link: "queue"})
	}
	if n := st.Tasks.Unsaved; n > 0 {
		add(problem{Level: "warn", Title: "The work of " + plural(n, "ended task") + " could not be saved, or not all of it",
			Help: "Each task says what is lost, and why.", Link: "tasks?state=unsaved"})
	}
	if st.Free == 0 && st.Most > 0 && len(sc.instances) >= st.Most {
		add(problem{Level: "warn", Title: fmt.Sprintf("The pool is full: no free slot on %s, and MaxInstances is %d", plural(len(sc.instances), "instance"), st.Most),
			Link: "instances"})
	}
}

func (sc scope) instanceProblems(st *status, add func(problem)) {
	if n := st.Instances[string(store.InstanceLost)]; n > 0 {
		p := problem{Level: "bad", Title: plural(n, "instance") + " lost", Link: "instances?state=lost"}
		for _, in := range sc.instances {
			if in.State == store.InstanceLost {
				p.Detail = in.ID + ": " + in.Reason
				break
			}
		}
		add(p)
	}
	taken := 0
	for _, in := range sc.instances {
		if in.State == store.InstanceCordoned && pool.Outlook(in.Outlook) == pool.OutlookInterrupted {
			taken++
		}
	}
	if taken > 0 {
		add(problem{Level: "warn", Title: "The cloud is taking back " + plural(taken, "instance"), Link: "instances?state=cordoned"})
	}
}

// repositoryProblems adds the repositories that do not come up.
func (sc scope) repositoryProblems(now time.Time, add func(problem)) {
	var worst *repo
	var of problem
	n := 0
	for _, r := range sc.repos {
		if len(r.containers) == 0 && r.counts.Failed == 0 {
			continue
		}
		for _, p := range sc.trouble(r, now) {
			if p.Level != "bad" {
				continue
			}
			n++
			if worst == nil || r.text < worst.text {
				worst, of = r, p
			}
			break
		}
	}
	switch {
	case n == 1:
		add(problem{Level: "bad", Title: worst.text + ": " + of.Title, Detail: of.Detail, Link: href("repository", "name", worst.text)})
	case n > 1:
		add(problem{Level: "bad", Title: plural(n, "repository") + " do not start as they should", Detail: worst.text + ": " + of.Title, Link: "./"})
	}
}

// stuck returns how many tasks have had a container that is up for a long time and have not started, and for how long at most. The fetch or
// the checkout hangs.
func (r *repo) stuck(now time.Time) (n int, longest time.Duration) {
	if r.counts.Creating == 0 {
		return 0, 0
	}
	for _, t := range r.tasks {
		if t.State != store.SessionCreating || t.Queued {
			continue
		}
		c := r.containers[t.Container]
		if c == nil || c.State != store.ContainerReady {
			continue
		}
		since := t.CreatedAt.Add(t.Waited)
		if c.Since.After(since) {
			since = c.Since
		}
		if took := now.Sub(since); took > stuckAfter {
			n, longest = n+1, max(longest, took)
		}
	}
	return n, longest
}

// trouble returns what is wrong with a repository.
func (sc scope) trouble(r *repo, now time.Time) (all []problem) {
	for _, c := range r.containers {
		switch {
		case sc.containerState(c) == "lost":
			all = append(all, problem{Level: "bad", Title: "its container is on a lost instance", Detail: c.Instance})
		case c.State == store.ContainerStarting && now.Sub(c.Since) > stuckAfter:
			all = append(all, problem{Level: "bad", Title: "its container has been starting for " + short(now.Sub(c.Since)), Detail: c.Name})
		}
	}
	if n, longest := r.stuck(now); n > 0 {
		all = append(all, problem{Level: "bad", Title: plural(n, "task") + " on a container that is up, starting for up to " + short(longest)})
	}
	if r.counts.Failed > 0 {
		var last *task
		better := false // a session became active after the last failure
		for _, t := range r.tasks {
			if t.failed() && (last == nil || t.EndedAt.After(last.EndedAt)) {
				last = t
			}
		}
		for _, t := range r.tasks {
			better = better || t.Took > 0 && t.CreatedAt.Add(t.Waited+t.Took).After(last.EndedAt)
		}
		level := "bad"
		if better {
			level = "warn"
		}
		all = append(all, problem{Level: level, Title: plural(r.counts.Failed, "start") + " failed", Detail: endText(last.End)})
	}
	return all
}
