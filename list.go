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

// GetSession returns a session, whichever replica made it. Ended ones are found for Config.SessionRetention; after
// that, and for an unknown ID, ErrSessionNotFound.
func (p *Provider) GetSession(ctx context.Context, id string) (*Session, error) {
	if err := p.enter(); err != nil {
		return nil, err
	}
	defer p.calls.Done()
	r, err := p.record(ctx, id)
	if err != nil {
		return nil, err
	}
	return p.session(ctx, r), nil
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
		if filter.Repository != "" {
			r, err := parseEither(filter.Repository)
			if err != nil {
				yield(nil, &FieldError{Field: "SessionFilter.Repository", Reason: err.Error()})
				return
			}
			q.Repository = r
		}
		page := func(v store.View, after string) ([]*store.Session, error) {
			q.After = after
			return v.Sessions(q)
		}
		for r, err := range pages(ctx, p.store, counted(p, page), func(s *store.Session) string { return s.ID }) {
			if err != nil {
				yield(nil, err)
				return
			}
			if !yield(p.session(ctx, r), nil) {
				return
			}
		}
	}
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
		page := func(v store.View, after string) ([]*store.Container, error) {
			return v.Containers(store.ContainerQuery{Page: store.Page{After: after}})
		}
		for c, err := range pages(ctx, p.store, counted(p, page), func(c *store.Container) string { return c.ID }) {
			if err != nil {
				yield(RepositoryInfo{}, err)
				return
			}
			info := RepositoryInfo{
				Repository: c.SharingKey.Repository, Scope: c.SharingKey.Scope,
				Container: ContainerInfo{Name: c.Name, ID: c.EngineID},
				State:     string(c.State), Instance: c.Instance, Tasks: c.Sessions,
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
		page := func(v store.View, after string) ([]*store.Instance, error) {
			return v.Instances(store.InstanceQuery{Page: store.Page{After: after}})
		}
		for in, err := range pages(ctx, p.store, counted(p, page), func(in *store.Instance) string { return in.ID }) {
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

// counted makes each page of a query a call of the API. The time between two pages is the caller's own, who may close
// the Provider in it.
func counted[R any](p *Provider, query func(store.View, string) ([]R, error)) func(store.View, string) ([]R, error) {
	return func(v store.View, after string) ([]R, error) {
		if err := p.enter(); err != nil {
			return nil, err
		}
		defer p.calls.Done()
		return query(v, after)
	}
}

// pages yields the results of a query, page by page.
func pages[R any](ctx context.Context, st store.Store, query func(v store.View, after string) ([]R, error), id func(R) string) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		after := ""
		for {
			var page []R
			err := st.View(ctx, func(v store.View) (err error) {
				page, err = query(v, after)
				return err
			})
			if err != nil {
				var none R
				yield(none, fmt.Errorf("berth: cannot read the store: %w", err))
				return
			}
			for _, r := range page {
				if !yield(r, nil) {
					return
				}
			}
			if len(page) == 0 {
				return
			}
			after = id(page[len(page)-1])
		}
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

// container returns the record of a container; nil if there is none.
func (p *Provider) container(ctx context.Context, id string) (c *store.Container, err error) {
	err = p.store.View(ctx, func(v store.View) error {
		c, err = store.Find[*store.Container](v, store.ContainerKey(id))
		return err
	})
	return c, err
}

// everySession yields the records that a query selects, page by page.
func (p *Provider) everySession(ctx context.Context, q store.SessionQuery) iter.Seq2[*store.Session, error] {
	q.Limit = store.MaxLimit
	return pages(ctx, p.store, func(v store.View, after string) ([]*store.Session, error) {
		q.After = after
		return v.Sessions(q)
	}, func(s *store.Session) string { return s.ID })
}

// everyContainer is everySession for containers.
func (p *Provider) everyContainer(ctx context.Context, q store.ContainerQuery) iter.Seq2[*store.Container, error] {
	q.Limit = store.MaxLimit
	return pages(ctx, p.store, func(v store.View, after string) ([]*store.Container, error) {
		q.After = after
		return v.Containers(q)
	}, func(c *store.Container) string { return c.ID })
}
