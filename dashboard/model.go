package dashboard

import (
	"context"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/berth-go/berth"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// model is the pool in memory, with what the pages need to find. All viewers share it. Records in it do not change: a record
// that changes is replaced.
type model struct {
	console berth.Console
	source  source

	refreshing sync.Mutex // one refresh at a time; held while the store is read, by callers that need its result

	mu      sync.RWMutex // protects what follows; never held across a call of the store
	state   *state       // nil = not read yet
	version uint64       // counts the changes that a page may show
	read    time.Time    // when the store was last read, or was known to have no change
	err     error        // of the last refresh
	events  ring

	header    atomic.Pointer[header]
	forgotten func() // called when the model was dropped
}

func newModel(c berth.Console) *model {
	m := &model{console: c}
	m.source.init(c)
	return m
}

// state is what a model knows.
type state struct {
	pool       *store.Pool
	tasks      map[string]*task
	order      []*task // by session ID, which is the order of time
	containers map[string]*store.Container
	instances  map[string]*store.Instance
	repos      map[naming.Repository]*repo
	onInstance map[string]map[string]*task // those that hold a slot, by launch and session ID
	total      counts
	planner    *store.Lease
	beat       time.Time // when this process saw the planner's lease change
	waiting    []berth.Waiting

	came []*task // since order was sorted
	gone bool    // order has tasks that are not in tasks
}

// task is a session, with what searches look at.
type task struct {
	*store.Session
	search string // lower case
	ended  bool   // its state is that, at hand for those who look at all tasks
}

func newTask(s *store.Session) *task {
	var b strings.Builder
	for _, word := range []string{
		s.TaskID, s.UserID, s.SharingKey.Repository.String(), s.Branch, s.CheckedOut, s.ContainerName, s.Instance, s.ID, string(s.End.Reason),
	} {
		b.WriteString(word[:min(len(word), 200)])
		b.WriteByte('\n')
	}
	return &task{Session: s, search: strings.ToLower(b.String()), ended: s.State == store.SessionEnded}
}

func (t *task) branch() string {
	if t.CheckedOut != "" {
		return t.CheckedOut
	}
	return t.Branch
}

// holds reports whether the task has a slot.
func (t *task) holds() bool { return t.Instance != "" && t.State != store.SessionEnded }

// failed reports whether the task's start failed.
func (t *task) failed() bool {
	return t.State == store.SessionEnded && t.End.Reason == store.EndStartFailed
}

// unsaved reports whether the task has ended with work that could not be saved.
func (t *task) unsaved() bool { return t.State == store.SessionEnded && t.Unsaved != "" }

// counts count tasks.
type counts struct {
	Creating, Waiting, Active, Terminating, Ended, Failed int // Failed are among Ended, and Waiting is not in Creating
	Unsaved                                               int // of those that have ended
	Attached, Warm, Cold                                  int // of those that have started and are still known
}

func (c *counts) add(t *task, n int) {
	switch {
	case t.Queued && t.State == store.SessionCreating:
		c.Waiting += n
	case t.State == store.SessionCreating:
		c.Creating += n
	case t.State == store.SessionActive:
		c.Active += n
	case t.State == store.SessionTerminating:
		c.Terminating += n
	case t.State == store.SessionEnded:
		c.Ended += n
	}
	if t.failed() {
		c.Failed += n
	}
	if t.unsaved() {
		c.Unsaved += n
	}
	switch t.Start {
	case store.StartAttached:
		c.Attached += n
	case store.StartWarm:
		c.Warm += n
	case store.StartCold:
		c.Cold += n
	}
}

// live is how many have not ended.
func (c *counts) live() int { return c.Creating + c.Waiting + c.Active + c.Terminating }

// repo is what there is of a repository.
type repo struct {
	name       naming.Repository
	text       string // its String
	lower      string // the same in lower case
	tasks      map[string]*task
	containers map[string]*store.Container
	users      map[string]int // of tasks that have not ended
	counts     counts
}

func (r *repo) add(t *task, n int) {
	r.counts.add(t, n)
	if n > 0 {
		r.tasks[t.ID] = t
	} else {
		delete(r.tasks, t.ID)
	}
	if t.State != store.SessionEnded {
		if r.users[t.UserID] += n; r.users[t.UserID] <= 0 {
			delete(r.users, t.UserID)
		}
	}
}

func (r *repo) empty() bool { return len(r.tasks) == 0 && len(r.containers) == 0 }

func newState() *state {
	return &state{
		pool: &store.Pool{}, tasks: map[string]*task{}, containers: map[string]*store.Container{},
		instances: map[string]*store.Instance{}, repos: map[naming.Repository]*repo{}, onInstance: map[string]map[string]*task{},
	}
}

func (s *state) repo(name naming.Repository) *repo {
	r := s.repos[name]
	if r == nil {
		r = newRepo(name)
		s.repos[name] = r
	}
	return r
}

func newRepo(name naming.Repository) *repo {
	return &repo{name: name, text: name.String(), lower: strings.ToLower(name.String()), tasks: map[string]*task{}, containers: map[string]*store.Container{}, users: map[string]int{}}
}

func (s *state) drop(r *repo) {
	if r.empty() {
		delete(s.repos, r.name)
	}
}

// setTask replaces a task; record nil removes it.
func (s *state) setTask(id string, record *store.Session) {
	if old := s.tasks[id]; old != nil {
		r := s.repo(old.SharingKey.Repository)
		r.add(old, -1)
		s.total.add(old, -1)
		if held := s.onInstance[old.Instance]; held != nil {
			if delete(held, id); len(held) == 0 {
				delete(s.onInstance, old.Instance)
			}
		}
		if record == nil {
			s.drop(r)
		}
		delete(s.tasks, id)
		s.gone = true
	}
	if record == nil {
		return
	}
	t := newTask(record)
	s.tasks[id] = t
	s.came = append(s.came, t)
	s.total.add(t, 1)
	s.repo(record.SharingKey.Repository).add(t, 1)
	if t.holds() {
		held := s.onInstance[t.Instance]
		if held == nil {
			held = map[string]*task{}
			s.onInstance[t.Instance] = held
		}
		held[id] = t
	}
}

// settle makes order complete.
func (s *state) settle() {
	if s.gone {
		s.order = slices.DeleteFunc(s.order, func(t *task) bool { return s.tasks[t.ID] != t })
		s.came = slices.DeleteFunc(s.came, func(t *task) bool { return s.tasks[t.ID] != t })
		s.gone = false
	}
	if len(s.came) == 0 {
		return
	}
	byID := func(a, b *task) int { return strings.Compare(a.ID, b.ID) }
	slices.SortFunc(s.came, byID)
	inOrder := len(s.order) == 0 || s.order[len(s.order)-1].ID < s.came[0].ID
	s.order = append(s.order, s.came...)
	if !inOrder {
		slices.SortFunc(s.order, byID)
	}
	s.came = nil
}

func (s *state) setContainer(id string, c *store.Container) {
	if old := s.containers[id]; old != nil {
		r := s.repo(old.SharingKey.Repository)
		delete(r.containers, id)
		if c == nil {
			s.drop(r)
		}
		delete(s.containers, id)
	}
	if c != nil {
		s.containers[id] = c
		s.repo(c.SharingKey.Repository).containers[id] = c
	}
}

// containerState is the state of a container, as berth.RepositoryInfo has it.
func (s *state) containerState(c *store.Container) string {
	if in := s.instances[c.Instance]; in == nil || in.State == store.InstanceLost {
		return "lost"
	}
	return string(orchestrator.StateOf(c))
}

// look runs fn on what is known. The model does not change meanwhile.
func (m *model) look(fn func(*state)) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	if m.state != nil {
		fn(m.state)
	}
}

// now returns the version, when the store was read, and why it could not be read since.
func (m *model) now() (version uint64, read time.Time, err error) {
	m.mu.RLock()
	defer m.mu.RUnlock()
	return m.version, m.read, m.err
}

// ensure returns when there is something to show, as fresh as pacing allows.
func (m *model) ensure(ctx context.Context) error {
	m.source.used()
	m.mu.RLock()
	loaded, age := m.state != nil, time.Since(m.read)
	m.mu.RUnlock()
	switch {
	case loaded && !m.source.due() && age < tooOld:
		return nil
	case loaded && age < mostAge && m.source.wantsAll(): // that takes long
		go func() {
			ctx, cancel := context.WithTimeout(context.Background(), mostAge)
			defer cancel()
			_ = m.refresh(ctx) // the pages show the error
		}()
		return nil
	}
	if err := m.refresh(ctx); err != nil && !loaded {
		return err
	}
	return nil
}

// mostAge is the age of a model that is shown while all is read again.
const mostAge = time.Minute

// tooOld is the age of a model that is read again before it is shown. Without a watch of the store every page would be old.
const tooOld = 15 * time.Second
