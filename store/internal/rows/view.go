package rows

import (
	"context"
	"slices"
	"sync/atomic"

	"github.com/berth-go/berth/store"
)

// Source reads the table in one snapshot.
type Source interface {
	// Get returns the body of a record, or nil if there is none.
	Get(ctx context.Context, key store.Key) ([]byte, error)
	// Select runs a query whose rows are an ID and a body. Arguments are numbered: $1 is args[0].
	Select(ctx context.Context, sql string, args []any, row func(id string, body []byte) error) error
	// From returns the text after FROM in a query that is to use that index. "" means the primary key.
	From(index string) string
}

// Coarse is implemented by a Source whose indexes are the [CoarseIndexes].
type Coarse interface {
	Coarse() // only says so
}

// View is a [store.View] of a source. Close it when the function that got it has returned.
type View struct {
	ctx    context.Context
	source Source
	over   atomic.Bool
}

// NewView returns a View whose reads end with ctx.
func NewView(ctx context.Context, source Source) *View { return &View{ctx: ctx, source: source} }

// Close makes every later read of v fail.
func (v *View) Close() { v.over.Store(true) }

// Get implements [store.View].
func (v *View) Get(key store.Key) (store.Record, error) {
	if v.over.Load() {
		return nil, errOver
	}
	body, err := v.source.Get(v.ctx, key)
	if err != nil {
		return nil, err
	}
	if body == nil {
		return nil, notFound(key)
	}
	r, _, err := Decode(key, body)
	return r, err
}

// Instances implements [store.View].
func (v *View) Instances(q store.InstanceQuery) ([]*store.Instance, error) {
	p, some := planInstances(q)
	return find(v, p, some, func(r *store.Instance) bool { return oneOf(q.States, r.State) })
}

// Containers implements [store.View].
func (v *View) Containers(q store.ContainerQuery) ([]*store.Container, error) {
	p, some := planContainers(q)
	return find(v, p, some, func(r *store.Container) bool { return oneOf(q.States, r.State) })
}

// Sessions implements [store.View].
func (v *View) Sessions(q store.SessionQuery) ([]*store.Session, error) {
	p, some := planSessions(q)
	return find(v, p, some, func(r *store.Session) bool {
		for k, v := range q.Labels {
			if have, ok := r.Labels[k]; !ok || have != v {
				return false
			}
		}
		return oneOf(q.States, r.State)
	})
}

// Usage implements [store.View].
func (v *View) Usage(q store.UsageQuery) ([]*store.Usage, error) {
	return find(v, planUsage(q), true, func(*store.Usage) bool { return true })
}

func oneOf[S comparable](states []S, state S) bool {
	return len(states) == 0 || slices.Contains(states, state)
}

// find returns a page of the records that a plan selects and that matches accepts.
func find[R store.Record](v *View, p *plan, some bool, matches func(R) bool) ([]R, error) {
	if v.over.Load() {
		return nil, errOver
	}
	page := []R{}
	_, coarse := v.source.(Coarse)
	for some {
		sql, args := p.sql(v.source.From, coarse)
		read := 0
		var last store.Record
		err := v.source.Select(v.ctx, sql, args, func(id string, body []byte) error {
			read++
			r, _, err := Decode(store.Key{Kind: p.kind, ID: id}, body)
			if err != nil {
				return err
			}
			last = r
			if r := r.(R); matches(r) && len(page) < p.size {
				page = append(page, r)
			}
			return nil
		})
		if err != nil {
			return nil, err
		}
		if read < p.limit || len(page) == p.size {
			break
		}
		p.goOn(last)
	}
	return page, nil
}
