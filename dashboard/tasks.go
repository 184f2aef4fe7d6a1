package dashboard

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth/store"
)

// taskRow is a task in the list.
type taskRow struct {
	taskRef
	Repository     string    `json:"repository"`
	Scope          string    `json:"scope,omitempty"`
	Branch         string    `json:"branch"`
	Container      string    `json:"container,omitempty"`
	ContainerState string    `json:"container_state,omitempty"`
	Instance       string    `json:"instance,omitempty"`
	Start          string    `json:"start,omitempty"` // attached, warm, cold
	Waited         seconds   `json:"waited"`
	Took           seconds   `json:"took"` // its start, after the queue
	CreatedAt      time.Time `json:"created_at"`
	LeaseUntil     time.Time `json:"lease_until,omitzero"`
	EndedAt        time.Time `json:"ended_at,omitzero"`
	Reason         string    `json:"reason,omitempty"`  // why it ended
	Message        string    `json:"message,omitempty"` // git's or the engine's own words
	Saved          string    `json:"saved,omitempty"`   // where its work is
	Unsaved        string    `json:"unsaved,omitempty"` // what of its work could not be saved, and why
	EndLevel       string    `json:"-"`
}

func (sc scope) row(t *task) taskRow {
	row := taskRow{
		taskRef: refer(t), Repository: t.SharingKey.Repository.String(), Scope: t.SharingKey.Scope, Branch: t.branch(),
		Container: t.ContainerName, Instance: t.Instance, Start: string(t.Start), Waited: seconds(t.Waited), Took: seconds(t.Took),
		CreatedAt: t.CreatedAt, LeaseUntil: t.LeaseUntil, EndedAt: t.EndedAt,
		Reason: string(t.End.Reason), Message: t.End.Message, Saved: t.Saved, Unsaved: t.Unsaved, EndLevel: endLevel(t.End),
	}
	if t.Unsaved != "" {
		row.EndLevel = "bad"
	}
	if t.Instance == "" && t.State != store.SessionEnded {
		row.Container = ""
	}
	if c := sc.containers[t.Container]; c != nil {
		row.ContainerState = sc.containerState(c)
	}
	return row
}

// filter selects tasks.
type filter struct {
	State, User, Repository, Branch, Label, Instance, Text string
}

func (q query) filter() filter {
	return filter{
		State: q.Get("state"), User: q.Get("user"), Repository: q.Get("repository"), Branch: q.Get("branch"), Label: q.Get("label"),
		Instance: q.Get("instance"), Text: q.Get("q"),
	}
}

// taskStates are the states by which tasks are filtered. "" is all that have not ended.
var taskStates = []string{"", "active", "waiting", "creating", "terminating", "ended", "failed", "unsaved", "all"}

// match returns what a task must be.
func (f filter) match() func(*task) bool {
	text := strings.ToLower(strings.TrimSpace(f.Text))
	name, value, hasValue := strings.Cut(f.Label, "=")
	return func(t *task) bool {
		switch f.State {
		case "":
			if t.ended {
				return false
			}
		case "failed":
			if !t.failed() {
				return false
			}
		case "unsaved":
			if !t.unsaved() {
				return false
			}
		case "all":
		default:
			if t.shown() != f.State {
				return false
			}
		}
		switch {
		case f.User != "" && t.UserID != f.User,
			f.Instance != "" && t.Instance != f.Instance,
			f.Branch != "" && t.Branch != f.Branch && t.CheckedOut != f.Branch,
			f.Repository != "" && t.SharingKey.Repository.String() != f.Repository:
			return false
		}
		if f.Label != "" {
			got, has := t.Labels[name]
			if !has || hasValue && got != value {
				return false
			}
		}
		return text == "" || strings.Contains(t.search, text)
	}
}

// tasksView is the list of tasks.
type tasksView struct {
	paging
	Filter filter    `json:"-"`
	Sort   string    `json:"sort"`
	Rows   []taskRow `json:"tasks"`
	Hint   string    `json:"-"`
}

// tasks lists tasks, the latest first; sort=created: the oldest first.
func (sc scope) list(q query) *tasksView {
	v := &tasksView{Filter: q.filter(), Sort: q.Get("sort"), Rows: []taskRow{}}
	// Of a filter that all of a repository, or of an instance, may pass, the others need not be looked at.
	match, total := v.Filter.match(), 0
	candidates := sc.order
	if v.Filter.Instance != "" && v.Filter.State != "all" && v.Filter.State != "ended" && v.Filter.State != "failed" && v.Filter.State != "unsaved" {
		candidates = sortedTasks(sc.onInstance[v.Filter.Instance])
	} else if v.Filter.Repository != "" {
		candidates = nil
		for _, r := range sc.repos {
			if r.text == v.Filter.Repository {
				candidates = sortedTasks(r.tasks)
			}
		}
	}
	from := (q.number() - 1) * q.most
	known := -1 // how many match, if that is counted anyway
	if sc.sees == nil && v.Filter == (filter{State: v.Filter.State}) {
		known = sc.total.of(v.Filter.State)
	}
	take := func(t *task) (more bool) {
		if !match(t) || !sc.see(t) {
			return true
		}
		if total >= from && total < from+q.most {
			v.Rows = append(v.Rows, sc.row(t))
		}
		total++
		return known < 0 || total < from+q.most
	}
	if v.Sort == "created" {
		for _, t := range candidates {
			if !take(t) {
				break
			}
		}
	} else {
		for _, t := range slices.Backward(candidates) {
			if !take(t) {
				break
			}
		}
	}
	total = max(total, known)
	v.paging, _, _ = q.part(total)
	if v.Hint = "No task matches. Ended ones are shown by the state “ended”, or “all”."; v.Filter == (filter{}) {
		v.Hint = "No task runs. Each CreateSession shows up here at once."
	}
	return v
}

// of returns how many tasks have one of taskStates; -1 = that is not counted.
func (c *counts) of(state string) int {
	switch state {
	case "":
		return c.live()
	case "active":
		return c.Active
	case "waiting":
		return c.Waiting
	case "creating":
		return c.Creating
	case "terminating":
		return c.Terminating
	case "ended":
		return c.Ended
	case "failed":
		return c.Failed
	case "unsaved":
		return c.Unsaved
	case "all":
		return c.live() + c.Ended
	}
	return -1
}

func sortedTasks(tasks map[string]*task) []*task {
	return slices.SortedFunc(maps.Values(tasks), func(a, b *task) int { return strings.Compare(a.ID, b.ID) })
}

// step is a phase in the life of a task.
type step struct {
	Name  string    `json:"name"`
	From  time.Time `json:"from"`
	Took  seconds   `json:"took"`
	Open  bool      `json:"open"` // it goes on
	Kind  string    `json:"-"`    // its colour
	Width int       `json:"-"`    // of 1000
	At    int       `json:"-"`    // of 1000
	Note  string    `json:"note,omitempty"`
}

// taskView is the page of a task.
type taskView struct {
	taskRow
	CloudID   string            `json:"cloud_id,omitempty"`
	Address   string            `json:"address,omitempty"`
	Isolation string            `json:"isolation,omitempty"`
	Workdir   string            `json:"workdir,omitempty"`
	UID       int               `json:"uid,omitempty"`
	Author    string            `json:"author,omitempty"`
	Remote    string            `json:"remote"`
	Commit    string            `json:"commit,omitempty"`   // with which it began
	Snapshot  string            `json:"snapshot,omitempty"` // the ID of the one with which it began
	Restored  string            `json:"restored,omitempty"` // the task, or the ID of the session, with whose saved work it began
	Lifetime  seconds           `json:"max_lifetime,omitempty"`
	Labels    map[string]string `json:"labels"`
	Trace     string            `json:"trace_id,omitempty"`
	Phase     string            `json:"failed_phase,omitempty"`
	Idle      seconds           `json:"idle_timeout"` // negative = none
	Steps     []step            `json:"timeline"`
	Events    []event           `json:"events"` // the latest first
	Wait      *waitingRow       `json:"wait,omitempty"`
	Commands  *commandsView     `json:"commands,omitempty"` // of a task that is active
	CanEnd    bool              `json:"-"`
}

// one describes a task, by its session ID; nil = the viewer sees none of that ID.
func (m *model) one(sc scope, id string, now time.Time) *taskView {
	t := sc.tasks[id]
	if t == nil || !sc.see(t) {
		return nil
	}
	v := &taskView{
		taskRow: sc.row(t), Workdir: t.Workdir, UID: t.UID, Author: strings.TrimSpace(t.AuthorName + " " + t.AuthorEmail),
		Remote: t.Remote, Labels: t.Labels, Trace: t.TraceID(), Phase: string(t.End.Phase), Idle: seconds(t.IdleTimeout),
		Steps: t.timeline(now), Events: []event{}, CanEnd: t.State != store.SessionEnded,
		Commit: t.Commit, Snapshot: t.Snapshot, Lifetime: seconds(t.MaxLifetime),
	}
	if t.Restored {
		v.Restored = cmp.Or(t.Restore, t.RestoreKept)
	}
	if in := sc.instances[t.Instance]; in != nil {
		v.CloudID, v.Address, v.Isolation = in.CloudID, in.Address, string(in.Isolation)
	}
	for _, e := range slices.Backward(m.events.all) {
		if mine := e.Session == id; mine || e.Session == "" && e.Container != "" && e.Container == t.ContainerName && !e.Time.Before(t.CreatedAt) && (t.EndedAt.IsZero() || !e.Time.After(t.EndedAt)) {
			v.Events = append(v.Events, e)
		}
		if len(v.Events) == 50 {
			break
		}
	}
	if t.shown() == "waiting" {
		if rows := sc.waits(now, 1, func(other *task) bool { return other == t }).Rows; len(rows) > 0 {
			v.Wait = &rows[0]
		}
	}
	return v
}

// phases returns the phases of a start that lasted from one time to another, as far as they lie within it. They follow each other,
// and the last one ends with the start.
func (t *task) phases(from, to time.Time) (steps []step) {
	for _, p := range []struct {
		name string
		took time.Duration
	}{
		{"checkout", t.Phases.Checkout}, {"fetch", t.Phases.Fetch}, {"create the container", t.Phases.Create}, {"pull the image", t.Phases.Pull},
	} {
		begun := to.Add(-p.took)
		if begun.Before(from) {
			begun = from
		}
		if p.took > 0 && begun.Before(to) {
			steps = append(steps, step{Name: p.name, Kind: "phase", From: begun, Took: seconds(to.Sub(begun))})
			to = begun
		}
	}
	slices.Reverse(steps)
	return steps
}

// timeline returns what the record says of the phases of a task.
func (t *task) timeline(now time.Time) (steps []step) {
	end := t.EndedAt
	if t.State != store.SessionEnded {
		end = now
	} else if end.IsZero() {
		end = t.CreatedAt.Add(t.Waited + t.Took)
	}
	at := t.CreatedAt
	add := func(name, kind string, until time.Time, open bool, note string) {
		if until.Before(at) {
			until = at
		}
		steps = append(steps, step{Name: name, Kind: kind, From: at, Took: seconds(until.Sub(at)), Open: open, Note: note})
		at = until
	}
	live := t.State == store.SessionCreating
	if t.Queued {
		add("in the queue", "wait", end, live, "")
	} else if t.Waited > 0 {
		add("in the queue", "wait", at.Add(t.Waited), false, "")
	}
	switch {
	case t.Queued:
	case t.Took > 0:
		begun := len(steps)
		note := map[store.StartKind]string{
			store.StartAttached: "its container was running", store.StartWarm: "the mirror of its repository was there", store.StartCold: "the repository was cloned",
		}[t.Start]
		add(string(t.Start)+" start", "start", at.Add(t.Took), false, note)
		steps = append(steps, t.phases(steps[begun].From, at)...)
		add("active", "active", end, t.State == store.SessionActive, "")
	default:
		note := ""
		if t.End.Phase != "" {
			note = "failed while " + string(t.End.Phase)
		}
		add("starting", "start", end, live, note)
	}
	total := max(end.Sub(t.CreatedAt), time.Millisecond)
	for i := range steps {
		s := &steps[i]
		s.At = int(1000 * s.From.Sub(t.CreatedAt) / total)
		s.Width = max(int(1000*time.Duration(s.Took)/total), 4)
		s.At = min(s.At, 1000-s.Width)
	}
	return steps
}
