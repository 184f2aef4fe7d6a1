package store

import (
	"context"
	"iter"
)

// All yields what a query selects, in the order of the IDs: next asks for one page of it. An error ends the sequence.
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

// Sessions yields the sessions that q selects, whatever its Page. Each page is from a View of its own, which is over
// when they are yielded: a session that comes or goes meanwhile may be missing. q gives no order of its own.
func Sessions(ctx context.Context, st Store, q SessionQuery) iter.Seq2[*Session, error] {
	return All(func(page Page) (found []*Session, err error) {
		q.Page = page
		err = st.View(ctx, func(v View) error {
			found, err = v.Sessions(q)
			return err
		})
		return found, err
	})
}

// Containers is Sessions for containers.
func Containers(ctx context.Context, st Store, q ContainerQuery) iter.Seq2[*Container, error] {
	return All(func(page Page) (found []*Container, err error) {
		q.Page = page
		err = st.View(ctx, func(v View) error {
			found, err = v.Containers(q)
			return err
		})
		return found, err
	})
}

// Instances is Sessions for instances.
func Instances(ctx context.Context, st Store, q InstanceQuery) iter.Seq2[*Instance, error] {
	return All(func(page Page) (found []*Instance, err error) {
		q.Page = page
		err = st.View(ctx, func(v View) error {
			found, err = v.Instances(q)
			return err
		})
		return found, err
	})
}
