package berth

import (
	"context"
	"fmt"
	"iter"
	"maps"

	"github.com/berth-go/berth/naming"
	"github.com/berth-go/berth/store"
)

// SessionFilter selects sessions: those to which all its fields apply. Its zero value selects all that have not ended.
type SessionFilter struct {
	TaskID, UserID string
	Repository     string // any spelling of its remote, or what naming.Repository's String gives
	Labels         map[string]string
	States         []SessionState // none = creating, active, terminating
}

// unfit names a field that no session can have, and that a database would refuse to look for.
func (f *SessionFilter) unfit() string {
	switch {
	case !printable(f.TaskID):
		return "TaskID"
	case !printable(f.UserID):
		return "UserID"
	}
	return ""
}

// GetSession returns a session, whichever replica made it. Ended ones are found for Config.SessionRetention; after
// that, and for an unknown ID, ErrSessionNotFound.
func (p *Provider) GetSession(ctx context.Context, id string) (*Session, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.calls.Done()
	if !isSessionID(id) {
		return nil, fmt.Errorf("session %q: %w", id, ErrSessionNotFound)
	}
	r, in, err := p.placed(ctx, id)
	if err != nil {
		return nil, err
	}
	return p.session(r, in), nil
}

// ListSessions returns the sessions that a filter selects, in the order of their IDs. They are read page by page: one
// that comes or goes meanwhile may be missing. An error ends the sequence.
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
	Scope      string // of the sharing key
	Container  ContainerInfo
	State      string // starting, ready, stopping, lost
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
				State:     string(c.State), Instance: c.Instance, Tasks: c.Sessions,
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
				ID: in.ID, CloudID: in.CloudID, Address: in.Address, State: string(in.State), Reason: in.Reason,
				Slots: in.Slots, Tasks: in.Sessions, Since: in.Since,
			}
			if !yield(info, nil) {
				return
			}
		}
	}
}

// paged returns, for store.All, what asks for one page of a query in a View of its own. Each page is a call of the API:
// the time between two is the caller's own, who may close the Provider in it.
func paged[R store.Record](ctx context.Context, p *Provider, query func(store.View, store.Page) ([]R, error)) func(store.Page) ([]R, error) {
	return func(page store.Page) (found []R, err error) {
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer p.calls.Done()
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

// find returns the record of a session; nil if there is none.
func (p *Provider) find(ctx context.Context, id string) (s *store.Session, err error) {
	err = p.store.View(ctx, func(v store.View) error {
		s, err = store.Find[*store.Session](v, store.SessionKey(id))
		return err
	})
	return s, err
}

// record is find for a session that should be there.
func (p *Provider) record(ctx context.Context, id string) (*store.Session, error) {
	s, err := p.find(ctx, id)
	if err == nil && s == nil {
		err = ErrSessionNotFound
	}
	if err != nil {
		return nil, fmt.Errorf("session %s: %w", id, err)
	}
	return s, nil
}

// placed is record together with the instance that the session is on; nil if there is none.
func (p *Provider) placed(ctx context.Context, id string) (s *store.Session, in *store.Instance, err error) {
	err = p.store.View(ctx, func(v store.View) error {
		s, err = store.Find[*store.Session](v, store.SessionKey(id))
		if err != nil || s == nil || s.Instance == "" {
			return err
		}
		in, err = store.Find[*store.Instance](v, store.InstanceKey(s.Instance))
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

// container returns the record of a container; nil if there is none.
func (p *Provider) container(ctx context.Context, id string) (c *store.Container, err error) {
	err = p.store.View(ctx, func(v store.View) error {
		c, err = store.Find[*store.Container](v, store.ContainerKey(id))
		return err
	})
	return c, err
}
