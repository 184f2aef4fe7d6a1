package berth

import (
	"context"
	"fmt"
	"iter"
	"maps"

	"github.com/berth-go/berth/internal/plain"
	"github.com/berth-go/berth/internal/session"
	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// SessionFilter selects the sessions to which all its fields apply. Its zero value selects all that have not ended.
type SessionFilter struct {
	TaskID, UserID string
	Repository     string // any spelling of its remote, or what naming.Repository's String gives
	Labels         map[string]string
	States         []SessionState // none = creating, active, terminating
}

// unfit returns the name of a field that no session can have, and that a database would refuse to search for; "" = none.
func (f *SessionFilter) unfit() string {
	switch {
	case !printable(f.TaskID):
		return "TaskID"
	case !printable(f.UserID):
		return "UserID"
	}
	return ""
}

// GetSession returns a session of any replica. An ended session is found for Config.SessionRetention. ErrSessionNotFound:
// the session ended before that, or the ID is unknown.
func (p *Provider) GetSession(ctx context.Context, id string) (*Session, error) {
	if err := p.calls.enter(); err != nil {
		return nil, err
	}
	defer p.calls.leave()
	if !session.IsID(id) {
		return nil, fmt.Errorf("session %q: %w", id, ErrSessionNotFound)
	}
	r, in, err := p.read(ctx, id)
	if err != nil {
		return nil, err
	}
	return p.session(r, in), nil
}

// SessionByTask returns the session of a task that has not ended, in any state. A TaskID has at most one. It costs one read
// by key. ErrSessionNotFound: the task has none, or its last one has ended. ListSessions finds an ended one for
// Config.SessionRetention, if the filter's States have SessionEnded.
func (p *Provider) SessionByTask(ctx context.Context, taskID string) (*Session, error) {
	if err := p.calls.enter(); err != nil {
		return nil, err
	}
	defer p.calls.leave()
	if taskID == "" || !printable(taskID) {
		return nil, fmt.Errorf("task %q: %w", taskID, ErrSessionNotFound)
	}
	var r *store.Session
	var in *store.Instance
	err := p.store.View(ctx, func(v store.View) error {
		r, in = nil, nil
		task, err := store.Find[*store.Task](v, store.TaskKey(taskID))
		if err != nil || task == nil {
			return err
		}
		r, in, err = readSession(v, task.Session)
		return err
	})
	if err == nil && (r == nil || r.State == store.SessionEnded) {
		err = ErrSessionNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("task %q: %w", taskID, err)
	}
	return p.session(r, in), nil
}

// ListSessions returns the sessions that a filter selects, in the order of their IDs. They are read page by page: a session
// that begins or ends meanwhile may be missing. An error comes with a nil session, and ends the sequence.
func (p *Provider) ListSessions(ctx context.Context, filter SessionFilter) iter.Seq2[*Session, error] {
	return func(yield func(*Session, error) bool) {
		q := store.SessionQuery{
			TaskID: filter.TaskID, UserID: filter.UserID, Labels: maps.Clone(filter.Labels),
			States: []store.SessionState{store.SessionCreating, store.SessionActive, store.SessionTerminating},
		}
		if len(filter.States) > 0 {
			q.States = nil
			for _, s := range filter.States {
				q.States = append(q.States, store.SessionState(s))
			}
		}
		if field := filter.unfit(); field != "" {
			yield(nil, &FieldError{Field: "SessionFilter." + field, Reason: "must be printable UTF-8"})
			return
		}
		if filter.Repository != "" {
			r, err := parseEither(filter.Repository)
			if err != nil {
				yield(nil, &FieldError{Field: "SessionFilter.Repository", Reason: err.Error()})
				return
			}
			q.Repository = r
		}
		var instances map[string]*store.Instance // of the sessions of one page
		page := func(v store.View, page store.Page) ([]*store.Session, error) {
			q.Page = page
			found, err := v.Sessions(q)
			if err == nil {
				instances, err = instancesOf(v, found, func(s *store.Session) string { return s.Instance })
			}
			return found, err
		}
		for r, err := range store.All(paged(ctx, p, page)) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(p.session(r, instances[r.Instance]), nil) {
				return
			}
		}
	}
}

// instancesOf returns the instances that sessions or containers are on, as far as they are there, by ID.
func instancesOf[R store.Record](v store.View, records []R, where func(R) string) (map[string]*store.Instance, error) {
	instances := make(map[string]*store.Instance)
	for _, r := range records {
		id := where(r)
		if _, known := instances[id]; known || id == "" {
			continue
		}
		in, err := store.Find[*store.Instance](v, store.InstanceKey(id))
		if err != nil {
			return nil, err
		}
		instances[id] = in
	}
	return instances, nil
}

// parseEither reads a remote or the canonical text of a repository.
func parseEither(s string) (naming.Repository, error) {
	var r naming.Repository
	if err := r.UnmarshalText([]byte(s)); err == nil && !r.IsZero() {
		return r, nil
	}
	return naming.ParseRepository(s)
}

// RepositoryInfo is a container and what shares it.
type RepositoryInfo struct {
	Repository naming.Repository
	Scope      string // of the sharing key, such as "user=ann": see Sharing. "" = all sessions on the repository share
	Container  ContainerInfo
	State      string // starting, ready, empty (ready, and no session holds it), stopping, lost
	Instance   string // its launch ID
	Tasks      int    // sessions that share the container
}

// Repositories returns the containers of the pool with the number of tasks on each.
func (p *Provider) Repositories(ctx context.Context) iter.Seq2[RepositoryInfo, error] {
	return func(yield func(RepositoryInfo, error) bool) {
		var instances map[string]*store.Instance // of the containers of one page
		for c, err := range store.All(paged(ctx, p, func(v store.View, page store.Page) ([]*store.Container, error) {
			found, err := v.Containers(store.ContainerQuery{Page: page})
			if err == nil {
				instances, err = instancesOf(v, found, func(c *store.Container) string { return c.Instance })
			}
			return found, err
		})) {
			if err != nil {
				yield(RepositoryInfo{}, err)
				return
			}
			info := RepositoryInfo{
				Repository: c.SharingKey.Repository, Scope: c.SharingKey.Scope,
				Container: ContainerInfo{Name: c.Name, ID: c.EngineID},
				State:     string(orchestrator.StateOf(c)), Instance: c.Instance, Tasks: c.Sessions,
			}
			if in := instances[c.Instance]; in == nil || in.State == store.InstanceLost {
				info.State = "lost"
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

// Instances returns the instances of the pool.
func (p *Provider) Instances(ctx context.Context) iter.Seq2[InstanceInfo, error] {
	return func(yield func(InstanceInfo, error) bool) {
		for in, err := range store.All(paged(ctx, p, func(v store.View, page store.Page) ([]*store.Instance, error) {
			return v.Instances(store.InstanceQuery{Page: page})
		})) {
			if err != nil {
				yield(InstanceInfo{}, err)
				return
			}
			info := InstanceInfo{
				ID: in.ID, CloudID: in.CloudID, Address: in.Address, State: string(in.State), Reason: plain.Text(in.Reason),
				Slots: in.Slots, Tasks: in.Sessions, Empty: len(in.Empties), Since: in.Since,
				Isolation: Isolation(in.Isolation), IsolationReason: in.IsolationReason, DiskQuota: in.DiskQuota,
				SharedCheckouts: in.SharedCheckouts, CheckoutReason: in.CheckoutReason,
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

// paged returns the function that store.All calls for each page of a query. Each page is a View and a call of the API of its
// own: between two pages, the caller may close the Provider.
func paged[R store.Record](ctx context.Context, p *Provider, query func(store.View, store.Page) ([]R, error)) func(store.Page) ([]R, error) {
	return func(page store.Page) (found []R, err error) {
		if err := p.calls.enter(); err != nil {
			return nil, err
		}
		defer p.calls.leave()
		err = p.store.View(ctx, func(v store.View) error {
			found, err = query(v, page)
			return err
		})
		if err != nil {
			return nil, fmt.Errorf("berth: cannot read the store: %w", err)
		}
		return found, nil
	}
}

// read returns the record of a session and that of its instance, which is nil if there is none.
func (p *Provider) read(ctx context.Context, id string) (s *store.Session, in *store.Instance, err error) {
	err = p.store.View(ctx, func(v store.View) error {
		s, in, err = readSession(v, id)
		return err
	})
	if err == nil && s == nil {
		err = ErrSessionNotFound
	}
	if err != nil {
		return nil, nil, fmt.Errorf("session %s: %w", id, err)
	}
	return s, in, nil
}

// readSession returns the record of a session and that of its instance; nil for what there is not.
func readSession(v store.View, id string) (s *store.Session, in *store.Instance, err error) {
	if s, err = store.Find[*store.Session](v, store.SessionKey(id)); err != nil || s == nil || s.Instance == "" {
		return s, nil, err
	}
	in, err = store.Find[*store.Instance](v, store.InstanceKey(s.Instance))
	return s, in, err
}

// Console is an operator's view of a pool, and the levers. It shows the whole pool, whichever process asks, in the records of
// package store. Package dashboard is made of it.
type Console struct{ p *Provider }

// Console returns the pool's Console. Its methods return ErrClosed after Close.
func (p *Provider) Console() Console { return Console{p} }

// Pool returns the pool's name.
func (c Console) Pool() string { return c.p.cfg.Name }

// Closing returns a channel that is closed when the Provider closes.
func (c Console) Closing() <-chan struct{} { return c.p.calls.closing.Done() }

// View runs fn on one snapshot of the pool's records: see store.Store.
func (c Console) View(ctx context.Context, fn func(store.View) error) error {
	if err := c.p.calls.enter(); err != nil {
		return err
	}
	defer c.p.calls.leave()
	return c.p.store.View(ctx, fn)
}

// Watch calls touched with the keys of the records that any process changes: see store.Watch.
func (c Console) Watch(touched func(store.Key)) (stop func(), ok bool) {
	return store.Watch(c.p.store, touched)
}

// Events calls fn with the events of this process, in order, until stop. fn must not block.
func (c Console) Events(fn func(Event)) (stop func()) { return c.p.events.tap(fn) }

// Image returns the image with which this process starts the containers of a repository.
func (c Console) Image(r naming.Repository) string { return c.p.cfg.image(r) }

// Waiting is a session that waits for a slot, and what keeps it beside the lack of free slots.
type Waiting struct {
	SessionID string
	UserLimit int  // the sessions that its user may have at once, if the user has as many; 0 = that is not the reason
	NoLimits  bool // Config.UserLimitsFor does not say what its user may have
	Bound     bool // its containers are on instances without a free slot, and MaxContainersPerRepository allows no other
}

// Waiting returns the sessions that wait, in the order in which they will be served.
func (c Console) Waiting(ctx context.Context) (all []Waiting, err error) {
	if err := c.p.calls.enter(); err != nil {
		return nil, err
	}
	defer c.p.calls.leave()
	turns, err := c.p.queue.Turns(ctx)
	for _, t := range turns {
		all = append(all, Waiting{SessionID: t.Session, UserLimit: t.Most, NoLimits: t.Unknown, Bound: t.Bound})
	}
	return all, err
}

// Cordon keeps new sessions off an instance, whose launch ID it takes, until Uncordon. The sessions that it has stay, and it
// stays when they have ended. pool.ErrState: it neither takes sessions nor is cordoned.
func (c Console) Cordon(ctx context.Context, instance, reason string) error {
	return c.wish(func() error { return c.p.pool.Cordon(ctx, instance, plain.Text(reason)) })
}

// Uncordon lets sessions come to an instance again, after Cordon. pool.ErrState: no Cordon holds it.
func (c Console) Uncordon(ctx context.Context, instance string) error {
	return c.wish(func() error { return c.p.pool.Uncordon(ctx, instance) })
}

// Drain is Cordon for good: the instance ends when its sessions have ended, and is replaced if it is needed.
func (c Console) Drain(ctx context.Context, instance, reason string) error {
	return c.wish(func() error { return c.p.pool.Drain(ctx, instance, plain.Text(reason)) })
}

func (c Console) wish(do func() error) error {
	if err := c.p.calls.enter(); err != nil {
		return err
	}
	defer c.p.calls.leave()
	return plain.Error(do())
}
