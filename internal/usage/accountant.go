package usage

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/berth-go/berth/internal/demand"
	"github.com/berth-go/berth/internal/lease"
	"github.com/berth-go/berth/internal/loop"
	"github.com/berth-go/berth/pool"
	"github.com/berth-go/berth/store"
)

// Config configures an Accountant. Price may be nil.
type Config struct {
	Store     store.Store
	PoolUID   string                                           // machines of another pool are not ours to account
	Labels    []string                                         // the names of the labels that are accounted
	Retention time.Duration                                    // of rows; negative = for ever
	Price     func(pool.Machine) (usdPerHour float64, ok bool) // called once per machine and step
	Learn     bool                                             // keep store.Demand
	Failures  *loop.Failures
}

// An Accountant accounts the time of a pool's machines.
type Accountant struct {
	cfg    Config
	seen   listings
	look   loop.Signal // a list has come
	pruned time.Time   // when old rows were removed last; Run alone uses it
}

// New returns an Accountant that does nothing yet.
func New(cfg Config) *Accountant { return &Accountant{cfg: cfg, look: loop.NewSignal()} }

// Saw takes in a list of the cloud that was asked for at a time. It never blocks.
func (a *Accountant) Saw(machines []pool.Machine, asked time.Time) {
	a.seen.add(slices.DeleteFunc(slices.Clone(machines), func(m pool.Machine) bool {
		return m.PoolUID != "" && m.PoolUID != a.cfg.PoolUID
	}), asked)
	a.look.Set()
}

// Run accounts until ctx ends, under the planner's lease: its writes fail once somebody else holds that lease. Then it accounts
// once more for what is due, unless the lease is lost: the next planner may begin much later.
func (a *Accountant) Run(ctx context.Context, held store.Lease) {
	st := store.Fenced(a.cfg.Store, held)
	a.seen.begin()
	wake := a.look.C() // the first list
	for loop.Wait(ctx, Interval, wake) == nil {
		wake = nil
		_, err := a.step(ctx, st)
		if err == nil {
			err = a.prune(ctx, st)
		}
		if err != nil && ctx.Err() == nil { // the next step accounts for the same time
			a.cfg.Failures.Report("cannot account for the time of machines", err)
		}
	}
	if errors.Is(context.Cause(ctx), lease.ErrLost) {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTimeout)
	defer cancel()
	for more, err := true, error(nil); more && err == nil; { // after an error, the next planner accounts for the same time
		more, err = a.step(ctx, st)
	}
}

// errStale says that the Ledger has changed since it was read.
var errStale = errors.New("the ledger has changed meanwhile")

// step accounts until now what is not accounted yet, or the oldest part of it. more = it has accounted for something, and there
// may be more.
func (a *Accountant) step(ctx context.Context, st store.Store) (more bool, err error) {
	seen, first := a.seen.copy()
	now := time.Now()
	var ledger *store.Ledger
	var due []span
	var found []observed // of due
	changed := false
	err = st.View(ctx, func(v store.View) error {
		settled, err := settled(v)
		if err != nil {
			return err
		}
		if ledger, err = store.Find[*store.Ledger](v, store.LedgerKey()); err != nil {
			return err
		}
		if ledger == nil {
			ledger = &store.Ledger{}
		}
		due, changed = refresh(ledger, seen, first, now, settled)
		for _, s := range due {
			o, err := observe(v, ledger.Meters[s.meter].Launch, s)
			if err != nil {
				return err
			}
			found = append(found, o)
		}
		return nil
	})
	if err != nil || !changed && len(due) == 0 {
		return false, err
	}
	acc := account{cfg: &a.cfg, ledger: ledger, rows: make(map[string]*store.Usage), cold: make(map[string]time.Duration)}
	for i, s := range due { // after the View, because a price may take a while
		if len(acc.rows) < mostRows && ctx.Err() == nil {
			acc.add(s, found[i])
		}
	}
	return len(due) > 0, acc.store(ctx, st)
}

// settled reports whether the pool is destroyed. Then its sessions and machines have ended, and no transaction of theirs is
// under way.
func settled(v store.View) (bool, error) {
	pool, err := store.Find[*store.Pool](v, store.PoolKey())
	return pool != nil && pool.Draining && pool.Instances == 0 && len(pool.Destroyers) == 0, err
}

// observe reads what is stored of an instance.
func observe(v store.View, launch string, s span) (o observed, err error) {
	in, err := store.Find[*store.Instance](v, store.InstanceKey(launch))
	if err != nil {
		return o, err
	}
	if in != nil {
		o.slots, o.empties = in.Slots, in.Empties
	}
	o.cold = make(map[string]time.Duration)
	for x, err := range store.All(func(page store.Page) ([]*store.Session, error) {
		return v.Sessions(store.SessionQuery{Instance: launch, Page: page})
	}) {
		if err != nil {
			return o, err
		}
		started := startedBetween(x, s.from, s.to)
		if !started && heldBetween(x, s.from, s.to) == 0 {
			continue
		}
		o.sessions = append(o.sessions, x)
		if _, known := o.cold[x.ContainerName]; started && !known {
			sharing, err := store.Find[*store.Sharing](v, store.SharingKey(x.ContainerName))
			if err != nil {
				return o, err
			}
			if sharing != nil {
				o.cold[x.ContainerName] = sharing.ColdStart
			}
		}
	}
	return o, nil
}

// store commits a step, unless another one has been committed since the Ledger was read.
func (a *account) store(ctx context.Context, st store.Store) error {
	keys := []store.Key{store.LedgerKey()}
	for _, id := range slices.Sorted(maps.Keys(a.rows)) {
		keys = append(keys, store.UsageKey(id))
	}
	for _, name := range slices.Sorted(maps.Keys(a.cold)) {
		keys = append(keys, store.SharingKey(name))
	}
	if len(a.starts) > 0 {
		keys = append(keys, store.DemandKey())
	}
	was := a.ledger.Seq
	a.ledger.Seq++
	return st.Update(ctx, keys, func(tx store.Tx) error {
		ledger, err := store.Find[*store.Ledger](tx, store.LedgerKey())
		if err != nil {
			return err
		}
		if ledger != nil && ledger.Seq != was || ledger == nil && was != 0 {
			return errStale
		}
		if err := tx.Put(a.ledger); err != nil {
			return err
		}
		for _, key := range keys[1:] {
			if err := a.put(tx, key); err != nil {
				return err
			}
		}
		return nil
	})
}

// put adds to one row or to the demand, or notes the last cold start of a sharing key.
func (a *account) put(tx store.Tx, key store.Key) error {
	if key.Kind == store.KindDemand {
		known, err := store.Find[*store.Demand](tx, key)
		if err != nil {
			return err
		}
		if known == nil {
			known = &store.Demand{}
		}
		demand.Add(known, a.starts)
		return tx.Put(known)
	}
	if key.Kind == store.KindSharing {
		sharing, err := store.Find[*store.Sharing](tx, key)
		if err != nil || sharing == nil {
			return err
		}
		sharing.ColdStart = a.cold[key.ID]
		return tx.Put(sharing)
	}
	row, err := store.Find[*store.Usage](tx, key)
	if err != nil {
		return err
	}
	if row == nil {
		return tx.Put(a.rows[key.ID])
	}
	add(row, a.rows[key.ID])
	return tx.Put(row)
}
