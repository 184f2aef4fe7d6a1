package teardown

import (
	"context"
	"errors"

	"golang.org/x/sync/errgroup"

	"github.com/berth-go/berth/internal/errs"
	"github.com/berth-go/berth/store"
)

// endSessions ends every session, until there is none.
func (d *destroyer) endSessions(ctx context.Context) error {
	for {
		if err := d.stillDestroying(ctx); err != nil {
			return err
		}
		var page []*store.Session
		err := d.Store.View(ctx, func(v store.View) (err error) {
			page, err = v.Sessions(store.SessionQuery{
				States: []store.SessionState{store.SessionCreating, store.SessionActive, store.SessionTerminating},
			})
			return err
		})
		if err != nil || len(page) == 0 {
			return err
		}
		var group errgroup.Group
		for _, s := range page {
			group.Go(func() error {
				err := d.Sessions.Terminate(ctx, s.ID, "the pool was destroyed")
				if errors.Is(err, errs.ErrSessionNotFound) {
					return nil
				}
				return err
			})
		}
		if err := group.Wait(); err != nil {
			return err
		}
	}
}
