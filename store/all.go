package store

import (
	"context"
	"iter"
)

// All yields the records that a query selects, in the order of their IDs. next reads one page. An error ends the sequence.
func All[R Record](next func(Page) ([]R, error)) iter.Seq2[R, error] {
	return func(yield func(R, error) bool) {
		page := Page{Limit: MaxLimit}
		for {
			found, err := next(page)
			if err != nil {
				var none R
				yield(none, err)
				return
			}
			for _, r := range found {
				if !yield(r, nil) {
					return
				}
			}
			if len(found) < page.Size() {
				return
			}
			page.After = found[len(found)-1].Key().ID
		}
	}
}

// paged is All for a query that find makes, for one page, in a View of its own.
func paged[R Record](ctx context.Context, st Store, find func(View, Page) ([]R, error)) iter.Seq2[R, error] {
	return All(func(page Page) (found []R, err error) {
		err = st.View(ctx, func(v View) error {
			found, err = find(v, page)
			return err
		})
		return found, err
	})
}

// Sessions yields the sessions that q selects, on all pages. Each page is from a View of its own, which has ended when the
// page's sessions are yielded. So a session that is made or deleted meanwhile may be missing. q has no order of its own.
func Sessions(ctx context.Context, st Store, q SessionQuery) iter.Seq2[*Session, error] {
	return paged(ctx, st, func(v View, page Page) ([]*Session, error) {
		q.Page = page
		return v.Sessions(q)
	})
}

// Containers is Sessions for containers.
func Containers(ctx context.Context, st Store, q ContainerQuery) iter.Seq2[*Container, error] {
	return paged(ctx, st, func(v View, page Page) ([]*Container, error) {
		q.Page = page
		return v.Containers(q)
	})
}

// Instances is Sessions for instances.
func Instances(ctx context.Context, st Store, q InstanceQuery) iter.Seq2[*Instance, error] {
	return paged(ctx, st, func(v View, page Page) ([]*Instance, error) {
		q.Page = page
		return v.Instances(q)
	})
}
