package usage

import (
	"context"
	"time"

	"github.com/berth-go/berth/store"
)

// pruneInterval is how often old rows are looked for.
const pruneInterval = time.Hour

// pruned is how many rows one transaction removes.
const pruned = 500

// prune removes the rows that are older than they are kept.
func (a *Accountant) prune(ctx context.Context, st store.Store) error {
	now := time.Now()
	if a.cfg.Retention < 0 || now.Sub(a.pruned) < pruneInterval {
		return nil
	}
	for {
		var keys []store.Key
		err := st.View(ctx, func(v store.View) error {
			// A query includes the hour that holds To. The hour that holds the limit must stay, so the query ends at its beginning.
			rows, err := v.Usage(store.UsageQuery{To: now.Add(-a.cfg.Retention).Truncate(time.Hour), Page: store.Page{Limit: pruned}})
			keys = nil
			for _, r := range rows {
				keys = append(keys, r.Key())
			}
			return err
		})
		if err != nil {
			return err
		}
		if len(keys) == 0 {
			a.pruned = now
			return nil
		}
		err = st.Update(ctx, keys, func(tx store.Tx) error {
			for _, key := range keys {
				if err := tx.Delete(key); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
}
