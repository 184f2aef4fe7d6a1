package session

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/berth-go/berth/internal/admission"
	"github.com/berth-go/berth/orchestrator"
	"github.com/berth-go/berth/store"
)

// scanInterval is how often the leases of all sessions are looked at. A renewal is seen no later than that.
const scanInterval = 10 * time.Second

// expire ends the sessions whose lease ran out. The transaction that marks them checks the fence: see markTerminating.
func (l *leader) expire(ctx context.Context) error {
	due, err := l.due(ctx)
	for _, id := range due {
		l.End(ctx, id, store.Failure{Reason: store.EndExpired})
	}
	return err
}

// due returns the sessions whose lease is over or in doubt. A lease in doubt counts if its LeaseUntil has passed, by this
// process's wall clock: then the agent is asked.
func (l *leader) due(ctx context.Context) (ids []string, err error) {
	hinted, err := l.observe(ctx, store.SessionQuery{LeaseBefore: time.Now(), Page: store.Page{Limit: store.MaxLimit}})
	if err != nil {
		return nil, err
	}
	now := time.Now()
	for _, s := range hinted {
		if s.lease.verdict(s.IdleTimeout, now) != leaseHolds && now.Sub(s.lease.failed) >= askPause {
			ids = append(ids, s.ID)
		}
	}
	if now.Sub(l.scanned) < scanInterval {
		return ids, nil
	}
	active := make(map[string]bool)
	for s, err := range store.All(func(page store.Page) ([]leased, error) {
		return l.observe(ctx, store.SessionQuery{States: []store.SessionState{store.SessionActive}, Page: page})
	}) {
		if err != nil {
			return ids, err
		}
		active[s.ID] = true
		l.grow(ctx, s.Session, now)
		if s.IdleTimeout >= 0 && s.lease.verdict(s.IdleTimeout, now) == leaseOver && now.Sub(s.lease.failed) >= askPause {
			ids = append(ids, s.ID)
		}
	}
	l.scanned = now
	l.ages.keep(active)
	l.active.Store(int64(len(active)))
	l.observed.keep(func(id string) bool { return active[id] || l.known.has(id) })
	return ids, nil
}

// leased is a session and the observation of its lease.
type leased struct {
	*store.Session
	lease observation
}

// observe looks at the leases of one page of the sessions that a query selects.
func (l *leader) observe(ctx context.Context, q store.SessionQuery) (all []leased, err error) {
	asked := time.Now()
	page, err := l.query(ctx, q)
	for _, s := range page {
		all = append(all, leased{s, l.observed.see(s, asked)})
	}
	return all, err
}

func (l *leader) query(ctx context.Context, q store.SessionQuery) (page []*store.Session, err error) {
	err = l.fenced.View(ctx, func(v store.View) error {
		page, err = v.Sessions(q)
		return err
	})
	return page, err
}

// removeOld removes the records of sessions that ended longer ago than they are kept, and the records of users of whom
// nothing else is left.
func (l *leader) removeOld(ctx context.Context) error {
	before, err := l.removable(ctx)
	if err != nil {
		return err
	}
	for {
		old, err := l.query(ctx, store.SessionQuery{EndedBefore: before, Page: store.Page{Limit: store.MaxLimit}})
		if err != nil || len(old) == 0 {
			return err
		}
		var keys []store.Key
		for _, s := range old {
			keys = append(keys, s.Key())
			if user := store.UserKey(s.UserID); !slices.Contains(keys, user) {
				keys = append(keys, user)
			}
		}
		removed, now := 0, time.Now()
		err = l.fenced.Update(ctx, keys, func(tx store.Tx) error {
			removed = 0
			for _, s := range old {
				keep, err := admission.ForgetUser(tx, s.UserID, now)
				if err != nil {
					return err
				}
				if keep {
					continue
				}
				if err := tx.Delete(s.Key()); err != nil {
					return err
				}
				removed++
			}
			return nil
		})
		if err != nil || removed == 0 {
			return err
		}
	}
}

// unaccounted is how much longer than Config.Retention a session is kept whose time is not accounted yet.
const unaccounted = 24 * time.Hour

// removable returns the time before which a session must have ended to be removed: it is not kept any longer, and its time is
// accounted.
func (l *leader) removable(ctx context.Context) (time.Time, error) {
	before := time.Now().Add(-l.cfg.Retention)
	ledger, err := store.Read[*store.Ledger](ctx, l.fenced, store.LedgerKey())
	if through, ok := ledger.Through(); ok && through.Before(before) {
		return before.Add(-min(before.Sub(through), unaccounted)), err
	}
	return before, err
}

// endLost ends the sessions of instances that are lost, in case the process that lost them could not.
func (l *leader) endLost(ctx context.Context) error {
	for in, err := range store.Instances(ctx, l.fenced, store.InstanceQuery{States: []store.InstanceState{store.InstanceLost}}) {
		if err != nil {
			return err
		}
		if in.Sessions > 0 {
			l.EndInstance(*in)
		}
	}
	return nil
}

// EndInstance ends the sessions of an instance that is lost.
func (m *Manager) EndInstance(in store.Instance) {
	m.EndAll(store.SessionQuery{Instance: in.ID}, store.Failure{
		Reason: store.EndInstanceLost, Message: orchestrator.Clean(fmt.Sprintf("instance %s: %s", in.ID, in.Reason)),
	})
}
