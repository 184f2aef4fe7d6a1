package dashboard

import (
	"cmp"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// moments are the times of a row.
type moments struct {
	Since     time.Time `json:"since,omitzero"` // when its state was entered
	CreatedAt time.Time `json:"created_at"`
}

// repositoryRow is a repository in the list.
type repositoryRow struct {
	Name        string         `json:"repository"`
	Active      int            `json:"active"`
	Waiting     int            `json:"waiting"`
	Starting    int            `json:"starting"`
	Ending      int            `json:"ending"`
	UserCount   int            `json:"user_count"`
	Users       []string       `json:"users"` // some of them
	Containers  []containerRow `json:"containers"`
	More        int            `json:"-"` // containers that are not listed
	Tasks       []taskRef      `json:"tasks"`
	MoreTasks   int            `json:"more_tasks"`
	Trouble     []problem      `json:"problems"`
	Usage       *usageRow      `json:"usage,omitempty"` // of the last 24 hours; nil = hidden from the viewer
	containersN int
	repo        *repo
}

func (r *repositoryRow) level() int {
	level := 0
	for _, p := range r.Trouble {
		if p.Level == "bad" {
			return 2
		}
		level = 1
	}
	return level
}

func (r *repositoryRow) live() int { return r.Active + r.Waiting + r.Starting + r.Ending }

// repositoriesView is the first page.
type repositoriesView struct {
	paging
	Sort string           `json:"sort"`
	Text string           `json:"-"`
	Rows []*repositoryRow `json:"repositories"`
	Hint string           `json:"-"` // what to do about an empty page
}

// byRepository is the usage of repositories within the last day.
type byRepository map[string]*usageRow

func starts(u *usageRow) int64 {
	if u == nil {
		return 0
	}
	return u.Starts()
}

var repositoryColumns = map[string]func(a, b *repositoryRow) int{
	"name":       func(a, b *repositoryRow) int { return cmp.Compare(a.Name, b.Name) },
	"tasks":      func(a, b *repositoryRow) int { return a.live() - b.live() },
	"users":      func(a, b *repositoryRow) int { return a.UserCount - b.UserCount },
	"containers": func(a, b *repositoryRow) int { return a.containersN - b.containersN },
	"starts":     func(a, b *repositoryRow) int { return cmp.Compare(starts(a.Usage), starts(b.Usage)) },
	"saved":      func(a, b *repositoryRow) int { return cmp.Compare(usageOf(a).Saved, usageOf(b).Saved) },
	"cost": func(a, b *repositoryRow) int {
		x, y := usageOf(a), usageOf(b)
		return cmp.Or(cmp.Compare(x.USD, y.USD), cmp.Compare(x.Used, y.Used))
	},
}

var noUsage usageRow

func usageOf(r *repositoryRow) *usageRow {
	if r.Usage == nil {
		return &noUsage
	}
	return r.Usage
}

// repositories lists repositories. By default, those in trouble come first, then those with most tasks.
func (s *server) repositories(sc scope, q query, usage byRepository, now time.Time) *repositoriesView {
	v := &repositoriesView{Sort: q.Get("sort"), Text: q.Get("q")}
	text := q.text()
	var rows []*repositoryRow
	for _, r := range sc.visible() {
		name := r.text
		if text != "" && !strings.Contains(r.lower, text) {
			continue
		}
		rows = append(rows, &repositoryRow{
			Name: name, Active: r.counts.Active, Waiting: r.counts.Waiting, Starting: r.counts.Creating, Ending: r.counts.Terminating,
			UserCount: len(r.users), containersN: len(r.containers), Trouble: sc.trouble(r, now), Usage: usage[name], repo: r,
		})
	}
	order(rows, v.Sort, repositoryColumns, func(a, b *repositoryRow) int {
		return cmp.Or(b.level()-a.level(), b.Waiting-a.Waiting, b.live()-a.live(), cmp.Compare(a.Name, b.Name))
	})
	var from, to int
	v.paging, from, to = q.part(len(rows))
	v.Rows = rows[from:to:to]
	for _, row := range v.Rows {
		s.fillRepository(sc, row, 4, 6, now)
	}
	if v.Hint = "No repository matches."; text == "" {
		v.Hint = "Nothing runs, and no session has ended lately. The first CreateSession starts a container of its repository, and both show up here."
	}
	return v
}

// fillRepository adds a repository's containers and tasks.
func (s *server) fillRepository(sc scope, row *repositoryRow, containers, tasks int, now time.Time) {
	row.Users = firstUsers(row.repo.users, 4)
	all := slices.SortedFunc(maps.Values(row.repo.containers), func(a, b *store.Container) int {
		return cmp.Or(a.CreatedAt.Compare(b.CreatedAt), cmp.Compare(a.ID, b.ID))
	})
	row.More = max(len(all)-containers, 0)
	row.Containers, row.Tasks = []containerRow{}, []taskRef{}
	for _, c := range all[:len(all)-row.More] {
		row.Containers = append(row.Containers, s.container(sc, c, row.repo, now))
	}
	var live []*task
	for _, t := range row.repo.tasks {
		if t.State != store.SessionEnded {
			live = append(live, t)
		}
	}
	slices.SortFunc(live, func(a, b *task) int { return cmp.Compare(b.ID, a.ID) })
	row.MoreTasks = max(len(live)-tasks, 0)
	for _, t := range live[:len(live)-row.MoreTasks] {
		row.Tasks = append(row.Tasks, refer(t))
	}
}

// container describes a container. A viewer who is narrowed learns how many of the tasks that it sees are in it.
func (s *server) container(sc scope, c *store.Container, r *repo, now time.Time) containerRow {
	row := containerRow{
		Name: c.Name, ID: c.ID, EngineID: c.EngineID, Instance: c.Instance, Scope: c.SharingKey.Scope, State: sc.containerState(c),
		Image: cmp.Or(c.Image, s.console.Image(c.SharingKey.Repository)), Age: seconds(now.Sub(c.CreatedAt)), Tasks: c.Sessions,
		moments: moments{Since: c.Since, CreatedAt: c.CreatedAt},
	}
	if c.WarmUntil.After(now) {
		row.Warm = c.WarmUntil
	}
	if c.Failure.Reason != "" {
		row.Failure = endText(c.Failure)
	}
	if sc.sees != nil {
		if row.Tasks = 0; row.State == string(orchestrator.StateEmpty) {
			row.State = string(store.ContainerReady) // which does not tell whether others have tasks in it
		}
		for _, t := range r.tasks {
			if t.Container == c.ID && t.holds() {
				row.Tasks++
			}
		}
	}
	return row
}

// repositoryView is the page of one repository.
type repositoryView struct {
	*repositoryRow
	Waits  []waitingRow `json:"waiting_tasks"`
	Failed []taskRow    `json:"failed_starts"` // the latest first
	CanAct bool         `json:"-"`             // the viewer may ask to keep it warm
}

// repository describes one repository; nil = the viewer sees none of that name.
func (s *server) repository(sc scope, q query, usage byRepository, now time.Time) *repositoryView {
	name := q.Get("name")
	for _, r := range sc.visible() {
		if r.text != name {
			continue
		}
		row := &repositoryRow{
			Name: name, Active: r.counts.Active, Waiting: r.counts.Waiting, Starting: r.counts.Creating, Ending: r.counts.Terminating,
			UserCount: len(r.users), containersN: len(r.containers), Trouble: sc.trouble(r, now), Usage: usage[name], repo: r,
		}
		s.fillRepository(sc, row, 50, 100, now)
		v := &repositoryView{repositoryRow: row, Waits: []waitingRow{}, Failed: []taskRow{}, CanAct: s.opts.Authorize != nil}
		if r.counts.Waiting > 0 {
			v.Waits = sc.waits(now, 20, func(t *task) bool { return t.SharingKey.Repository == r.name }).Rows
		}
		var failed []*task
		for _, t := range r.tasks {
			if t.failed() {
				failed = append(failed, t)
			}
		}
		slices.SortFunc(failed, func(a, b *task) int { return b.EndedAt.Compare(a.EndedAt) })
		for _, t := range failed[:min(len(failed), 10)] {
			v.Failed = append(v.Failed, sc.row(t))
		}
		return v
	}
	return nil
}

// dayUsage is the usage by repository of the last 24 hours, if the viewer sees the bill.
func (s *server) dayUsage(r *viewing) byRepository {
	if r.sees != nil {
		return nil
	}
	rows, _, err := s.usage.get(r.ctx, usageKey{hours: 24, by: berth.UsageByRepository})
	if err != nil {
		return nil // the page of the bill says why
	}
	all := byRepository{}
	for i := range rows {
		all[rows[i].Key] = &rows[i]
	}
	return all
}
